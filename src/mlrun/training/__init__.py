"""Training on tensors: no path and no configuration file is known here."""
