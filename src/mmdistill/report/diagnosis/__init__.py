"""A diagnosis for people: one HTML page, and tables for the terminal."""
