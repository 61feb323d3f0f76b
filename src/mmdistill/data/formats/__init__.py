"""One file a format: how rows are read from a file, a folder or a hub."""
