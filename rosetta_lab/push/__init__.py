"""A dictionary to a dataset repository of the hub."""
