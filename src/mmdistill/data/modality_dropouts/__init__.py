"""Which columns of a row a model is not shown while it learns, a file a distribution."""
