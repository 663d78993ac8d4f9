"""Output for people: console, plots, TensorBoard."""
