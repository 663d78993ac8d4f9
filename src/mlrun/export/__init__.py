"""A model as one file for another program, its preprocessing included."""
