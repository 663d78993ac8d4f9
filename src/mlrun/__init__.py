"""mlrun: config-driven training runs on PyTorch and Hydra."""

__version__ = "0.1.0"
