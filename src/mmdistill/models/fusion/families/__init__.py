"""The entries and options of the fusions, a file a family. Imports no torch."""
