"""Sweeps: many runs from one command, in one folder that can be resumed."""

from contextvars import ContextVar

dry_run_requested = ContextVar(
    "--dry-run: print the plan of the sweep and write nothing", default=False
)
