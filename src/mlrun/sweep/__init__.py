"""Sweeps: many runs from one command, in a folder that can be resumed and read."""

from contextvars import ContextVar

only_told = ContextVar("--dry-run: say what the sweep would be, and make nothing", default=False)
