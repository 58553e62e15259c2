"""The tables of finished runs, keyed by everything that they depend on.

Tables do not depend on K or on any filter, so a sweep over these runs the networks once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors import SafetensorError, safe_open

from rosetta_lab.data.latents import Latents
from rosetta_lab.files import cache_folder, save_tensors
from rosetta_lab.mine.module import MiningResult
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.models.load import state_hash
from rosetta_lab.models.observer import Observer

ARITHMETIC = 2  # raise it whenever the same ingredients would give other numbers


def fingerprint(
    observer: Observer,
    latents: Latents,
    psi: float,
    correlation: str,
    configs: Mapping[str, Any],
    batch_size: int,
) -> str:
    """Hex digest of everything that the tables depend on."""
    ingredients = {
        "arithmetic": ARITHMETIC,
        "versions": [str(torch.__version__), timm.__version__, open_clip.__version__],
        "matmul": torch.get_float32_matmul_precision(),
        "configs": configs,
        "weights": {name: state_hash(model) for name, model in observer.networks.items()},
        "layers": observer.layers,
        "latents": dict(vars(latents)),
        "psi": psi,
        # Averages of per-batch correlations depend on the batch; pooled sums do not.
        "correlation": [correlation, batch_size] if correlation != "pooled" else correlation,
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


class SumsCache:
    """Finished and unfinished results in the cache folder, under one fingerprint."""

    def __init__(self, key: str, folder: Path | None = None) -> None:
        folder = folder or cache_folder() / "mining"
        self.path = folder / f"{key}.safetensors"
        self.partial = PartialSums(folder / f"{key}.partial")

    def load(self) -> MiningResult | None:
        """The finished result, or None if there is none (or its file is damaged)."""
        result = MiningResult({}, {})
        try:
            with safe_open(self.path, "pt") as stream:
                for key in stream.keys():  # noqa: SIM118 (not a dict)
                    kind, name, *rest = key.split("/")
                    if kind == "tables":
                        result.tables[name] = stream.get_tensor(key)
                    else:
                        result.statistics.setdefault(name, {})[rest[0]] = stream.get_tensor(key)
        except (FileNotFoundError, SafetensorError):
            return None
        return result

    def save(self, result: MiningResult) -> None:
        """Keep a finished result and forget the unfinished sums."""
        tensors = {f"tables/{name}": table for name, table in result.tables.items()}
        for name, statistics in result.statistics.items():
            tensors |= {f"statistics/{name}/{key}": value for key, value in statistics.items()}
        save_tensors(self.path, tensors)
        self.partial.remove()
