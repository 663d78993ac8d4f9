"""Preprocessing of tables and images: fitted once, stored as plain JSON."""
