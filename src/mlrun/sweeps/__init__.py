"""Sweeps: many runs from one command, in a folder that can be resumed and read."""

from contextvars import ContextVar

dry_run_asked = ContextVar(
    "--dry-run: say what the sweep would be, and make nothing", default=False
)
