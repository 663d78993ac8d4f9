"""From the columns of a file to the numbers of a model: fitted once, stored as plain JSON."""
