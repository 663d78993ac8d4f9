"""Run folders: create them by training, and use them afterwards."""
