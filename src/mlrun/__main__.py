"""`python -m mlrun` is the `mlrun` command."""

from mlrun.cli import entry_point

entry_point()
