"""Mean and variance of every unit over the mined images (paper, Eq. 1)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rosetta_lab.dictionary.record import read_tensors
from rosetta_lab.errors import RosettaError
from rosetta_lab.run.foreign import printable

STATISTICS = "statistics.safetensors"
Statistics = dict[str, tuple[Tensor, Tensor]]  # layer to mean and variance of its units


def load_statistics(folder: Path, model: str) -> Statistics:
    """Mean and variance over the mined images of a model's units, by layer (paper, Eq. 1).

    Raises:
        RosettaError: the run folder holds none.
    """
    path = folder / STATISTICS if folder.is_dir() else folder.parent / STATISTICS
    if not path.is_file():
        raise RosettaError(
            f"No statistics at {path}.\nMine a dictionary: python -m rosetta_lab.mine"
        )
    tensors = read_tensors(path)
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
    return found
