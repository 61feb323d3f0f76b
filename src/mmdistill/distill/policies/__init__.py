"""Who teaches whom while a student learns."""
