"""Getting and reading checkpoints, without ever running anything that they contain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosetta_lab.models.checkpoints.convert import load_weights
    from rosetta_lab.models.checkpoints.download import resolve
    from rosetta_lab.models.checkpoints.weights import Weights, build, load_into

__all__ = ["Weights", "build", "load_into", "load_weights", "resolve"]


def __getattr__(name: str) -> Any:
    """Import what is asked for.

    The process that converts a file comes through here too, and does without torch, which takes
    seconds to import.
    """
    from importlib import import_module

    homes = dict.fromkeys(("Weights", "build", "load_into"), "weights")
    home = (homes | {"load_weights": "convert", "resolve": "download"}).get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
