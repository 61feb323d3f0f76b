"""Where custom models come from; one file a source."""
