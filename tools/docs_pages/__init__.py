"""The generated pages of docs/. The words stand in the sources of mmdistill; each module here shows one kind."""
