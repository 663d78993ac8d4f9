"""From files to rows: read, check, split, preprocess."""
