"""Getting and reading checkpoints, without ever running anything that they contain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosetta_lab.models.checkpoints.convert import load_weights
    from rosetta_lab.models.checkpoints.weights import (
        Weights,
        build,
        load_into,
        made,
        no_larger_than,
        skeleton,
    )

__all__ = [
    "Weights",
    "build",
    "load_into",
    "load_weights",
    "made",
    "no_larger_than",
    "skeleton",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for.

    The process that converts a file comes through here too, and does without torch, which takes
    seconds to import.
    """
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "convert" if name == "load_weights" else "weights"
    return getattr(import_module(f"{__name__}.{home}"), name)
