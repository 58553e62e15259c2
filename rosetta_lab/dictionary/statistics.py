"""Mean and variance of every unit over the mined images (paper, Eq. 1)."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from rosetta_lab.errors import RosettaError

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
    with safe_open(path, "pt") as file:
        names = {n.removesuffix("/mean") for n in file.keys() if n.endswith("/mean")}  # noqa: SIM118
        return {
            name.removeprefix(f"{model}/"): (
                file.get_tensor(f"{name}/mean"),
                file.get_tensor(f"{name}/var"),
            )
            for name in names
            if name.startswith(f"{model}/")
        }
