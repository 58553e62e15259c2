"""The matches of finished runs, keyed by everything that they depend on.

Neighbours do not depend on K or on any filter, so a sweep over these runs the networks once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import open_clip
import timm
import torch
from safetensors import SafetensorError, safe_open

from rosetta_lab.data.latents import Latents
from rosetta_lab.files import cache_folder, save_tensors
from rosetta_lab.mine.code import outside_code
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.models.load import state_hash
from rosetta_lab.models.observer import Observer

ARITHMETIC = 3  # raise it whenever the same ingredients would give other numbers


def fingerprint(
    observer: Observer,
    latents: Latents,
    psi: float,
    correlation: str,
    configs: Mapping[str, Any],
    batch_size: int,
    evidence: Evidence,
) -> str:
    """Hex digest of everything that the neighbours depend on."""
    ingredients = {
        "arithmetic": ARITHMETIC,
        "versions": [str(torch.__version__), timm.__version__, open_clip.__version__],
        "matmul": torch.get_float32_matmul_precision(),
        "configs": configs,
        "code": outside_code(observer.networks.values(), configs),
        "weights": {name: state_hash(model) for name, model in observer.networks.items()},
        "layers": observer.layers,
        "reference": observer.reference,  # keys are sorted: the order of the layers does not tell
        "latents": dict(vars(latents)),
        "psi": psi,
        "evidence": asdict(evidence),
        # Averages of per-batch correlations depend on the batch; pooled sums do not.
        "correlation": [correlation, batch_size] if correlation != "pooled" else correlation,
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


class SumsCache:
    """Finished and unfinished results in the cache folder, under one fingerprint."""

    def __init__(self, key: str) -> None:
        folder = cache_folder() / "mining"
        self.path = folder / f"{key}.safetensors"
        self.partial = PartialSums(folder / f"{key}.partial")

    def load(self, tables: bool = False) -> MiningResult | None:
        """The finished result; None if there is none, or its file is damaged or lacks tables."""
        try:
            with safe_open(self.path, "pt") as stream:
                tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            result = MiningResult.from_tensors(tensors)
        except (OSError, SafetensorError, LookupError, ValueError, StopIteration):
            return None
        return result if result.tables or not tables else None

    def save(self, result: MiningResult) -> None:
        """Keep a finished result and forget the unfinished sums."""
        save_tensors(self.path, result.to_tensors())
        self.partial.remove()
