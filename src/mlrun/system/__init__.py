"""What mlrun asks of the machine: files, signals, processes, devices, secrets."""
