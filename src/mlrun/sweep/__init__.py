"""Sweeps: many runs from one command, in a folder that can be resumed and read."""
