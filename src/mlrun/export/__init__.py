"""Export a model with its preprocessing as one file for another program."""
