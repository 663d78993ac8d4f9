"""What people look at: the console, the plots, TensorBoard."""
