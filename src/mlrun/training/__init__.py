"""Training on tensors; this package knows no paths and no configuration files."""
