"""From files to rows: read, check, split and preprocess."""
