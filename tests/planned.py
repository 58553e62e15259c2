"""A small run to be planned."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf


def toy_run(**options: Any) -> DictConfig:
    """A run of two toy models; the generator's weights would have to be loaded from nowhere."""
    run = {"num_images": 40, "batch_size": 8, "seed": 0, "classes": None, "psi": 1.0, "k_gen": 5}
    run |= {"k_disc": 5, "correlation": "pooled", "null": "shuffled", "draws": None, "blocks": None}
    run |= {"center": None, "max_fdr": 0.05, "control": None, "save_tables": False}
    run |= {"sums": "float32", "products": "float32", "row_blocks": "auto", "memory": "4GB"}
    run |= {"disk": 0, "cache": True}
    return OmegaConf.create(
        {
            "gen": {
                "name": "toy",
                "network": {"_target_": "toy.ToyGenerator"},
                "weights": "/no/such/file.pkl",
                "layers": ["fold", "late"],
                "latent": {"distribution": "normal"},
            },
            "disc": {
                "a": {"_target_": "toy.ToyModel", "weights": "random"},
                "b": {"_target_": "toy.ToyModel", "size": 20, "weights": "random"},
            },
            **run,
            **options,
        }
    )
