"""Training on tensors; this package uses no paths and no configuration files."""
