"""The interface to the machine: files, signals, processes, devices, secrets."""
