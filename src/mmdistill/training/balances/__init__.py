"""Keeping one column from drowning the others out while a model of several learns, a file a method."""
