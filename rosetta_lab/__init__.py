"""Rosetta neurons: the units that vision models of every kind have in common."""

__version__ = "0.1.0"
