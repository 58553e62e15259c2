"""A dictionary from a dataset repository of the hub."""
