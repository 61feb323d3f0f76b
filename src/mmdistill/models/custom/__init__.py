"""Models that this library did not design: wrapped as they are, with taps named by module path."""
