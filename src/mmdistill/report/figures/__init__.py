"""The plots of the report, one idea a file. Nothing is imported here, so that no plot library loads early."""
