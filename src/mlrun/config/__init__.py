"""Configuration: settings and their checks, allow-list, and the objects that settings describe."""
