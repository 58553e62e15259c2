"""Runs of inversions that never ran: results of random pictures, in the files of real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.invert.latent_code import seed_of
from rosetta_lab.invert.optimise import Inverted
from rosetta_lab.invert.problem import TargetBatch
from rosetta_lab.invert.results import Results

HOSTILE_ID = 'a <b>& "c" #1?%41/</script><img src=x onerror=alert(1)>'
STEPS = 40


def config(**changes: object) -> DictConfig:
    """What a run's page and a comparison read of its configuration."""
    return OmegaConf.create(
        {
            "matches": "all",
            "space": "w",
            "start": "mean",
            "steps": STEPS,
            "alpha": 0.1,
            "dictionary": "<script>alert(2)</script>",
            "loss": {"activation": 1.0, "perceptual": 1.0, "latent_l2": "${alpha}"},
            "judges": {
                "published": {"_target_": "rosetta_lab.models.perceptual.LPIPS", "weights": "w"},
                "own_<net>": {"_target_": "rosetta_lab.models.perceptual.LayerPerceptual"},
            },
            **changes,
        }
    )


def write_results(
    folder: Path,
    ids: Sequence[str],
    figures: Callable[[int], dict[str, float]],
    seed: int = 0,
    noise: float = 0.1,
) -> Results:
    """Results of one batch; image and target are noise, nearer to each other the less there is."""
    random = torch.Generator().manual_seed(seed)
    count = len(ids)
    targets = torch.zeros(count, 3, 16, 16)
    for target, name in zip(targets, ids, strict=True):  # the same in every run
        target.uniform_(generator=torch.Generator().manual_seed(seed_of(99, name)))
    images = (targets + noise * torch.randn(count, 3, 16, 16, generator=random)).clamp(0, 1)
    course = torch.linspace(1.0, 0.1, STEPS) + 0.05 * torch.rand(count, STEPS, generator=random)
    curves = {"activation": -course, "latent_l2": course.square(), "total": course}
    results = Results(folder)
    results.write(
        TargetBatch(list(ids), targets, [place % 3 for place in range(count)], [{}] * count),
        Inverted(images, torch.zeros(count, 4), None, curves),
        [figures(place) for place in range(count)],
    )
    return results


def write_run(
    folder: Path,
    ids: Sequence[str],
    figures: Callable[[int], dict[str, float]],
    overrides: Sequence[str] = (),
    **changes: object,
) -> Path:
    """A run's folder: results and what Hydra leaves."""
    write_results(folder, ids, figures, seed=len(str(folder)))
    (folder / "results").mkdir(parents=True, exist_ok=True)
    hydra = folder / ".hydra"
    hydra.mkdir()
    OmegaConf.save(config(**changes), hydra / "config.yaml")
    OmegaConf.save(OmegaConf.create(list(overrides)), hydra / "overrides.yaml")
    return folder
