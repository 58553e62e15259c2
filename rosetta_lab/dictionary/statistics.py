"""Mean and variance of every unit over the mined images (paper, Eq. 1)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import load_tensors
from rosetta_lab.models.units import Layer

STATISTICS = "statistics.safetensors"
Statistics = dict[str, tuple[Tensor, Tensor]]  # layer to mean and variance of its units


def load_statistics(folder: Path, model: str, layers: Iterable[Layer] | None = None) -> Statistics:
    """Mean and variance over the mined images of a model's units, by layer (paper, Eq. 1).

    Args:
        folder: of the run.
        model: its name.
        layers: those that the dictionary tells of; None for any.

    Raises:
        RosettaError: the run folder holds none, or not those of these layers.
    """
    path = folder / STATISTICS if folder.is_dir() else folder.parent / STATISTICS
    if not path.is_file():
        raise RosettaError(
            f"No statistics at {path}.\nMine a dictionary: python -m rosetta_lab.mine"
        )
    tensors, _ = load_tensors(path)
    found: Statistics = {}
    for name in tensors:
        if name.startswith(f"{model}/") and name.endswith("/mean"):
            bare = name.removesuffix("/mean")
            mean, var = tensors[name], tensors.get(f"{bare}/var")
            if (
                var is None
                or not (mean.dim() == 1 and mean.shape == var.shape)
                or not (mean.is_floating_point() and var.is_floating_point())
                or not bool(mean.isfinite().all() and var.isfinite().all() and (var >= 0).all())
            ):
                raise RosettaError(
                    f"{path}: mean and variance of {printable(bare)} are none of a layer's units.\n"
                    "The file is damaged: mine again."
                )
            found[bare.removeprefix(f"{model}/")] = (mean, var)
    for layer in layers or ():
        if len(found.get(layer.name, ((), ()))[0]) != layer.channels:
            raise RosettaError(
                f"{path}: it has not the units of {printable(layer.name)}.\n"
                "The file is damaged, or of another dictionary: mine again."
            )
    return found
