"""What stands in for a column that a row lacks."""
