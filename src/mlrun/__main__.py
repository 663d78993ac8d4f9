"""`python -m mlrun` is the `mlrun` command."""

import sys

if not sys.flags.safe_path:  # Python has put the current folder first, with anyone's torch.py
    sys.path.pop(0)

from mlrun.cli.main import entry_point

entry_point()
