"""One run folder: how it is made, and everything done with it afterwards."""
