"""A dictionary as one file that opens anywhere."""
