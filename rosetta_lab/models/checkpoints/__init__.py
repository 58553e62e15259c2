"""Getting and reading checkpoints, without ever running anything that they contain."""

from rosetta_lab.models.checkpoints.convert import Weights, load_into, load_weights
from rosetta_lab.models.checkpoints.download import resolve

__all__ = ["Weights", "load_into", "load_weights", "resolve"]
