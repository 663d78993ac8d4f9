"""`python -m mlrun` is the `mlrun` command."""

from mlrun.cli.main import entry_point

entry_point()
