"""The same search in untrained networks: each model's own architecture with random weights.

Random convolutions keep edges and colours, so that their units do share something with a trained
generator's. What they share is reported beside what trained models do, not subtracted from it.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from omegaconf import DictConfig

from rosetta_lab.dictionary.build import null_summary
from rosetta_lab.dictionary.evidence import Found, mean_of_best
from rosetta_lab.models.images import reference_of
from rosetta_lab.models.load import load_models, randomized
from rosetta_lab.models.observer import Observer


def untrained(cfg: DictConfig) -> tuple[DictConfig, list[str]]:
    """A copy of a run's config whose discriminative models, but the reference, are untrained.

    Returns:
        The copy, and the names of models that stay as they are, since they have no ``weights``.
    """
    copy = cfg.copy()
    own = reference_of(cfg)
    copy.disc = {n: entry if n == own else randomized(entry) for n, entry in cfg.disc.items()}
    return copy, [n for n, entry in copy.disc.items() if n != own and "weights" not in entry]


def beside(observer: Observer, cfg: DictConfig) -> Observer:
    """Another config's models, looking at the images of the same source."""
    return Observer(observer.source, load_models(cfg.disc, cfg.seed), observer.reference)


def count(found: Found, kept: list[str]) -> dict[str, Any]:
    """What was found in untrained models, under the names of a dictionary's summary.

    Args:
        found: in them.
        kept: names of the models among them that are trained.
    """
    counts: dict[str, Any] = {
        "kept": kept,
        "best_buddies": {name: len(own.buddies.pairs) for name, own in found.models.items()},
        "rosetta_neurons": len(found.rosetta),
        "median_score": _median_score(found, found.rosetta, accepted=True),
        "candidates": len(found.candidates),
        "candidates_median_score": _median_score(found, found.candidates, accepted=False),
    }
    return counts | ({"null": null_summary(found)} if found.decoys else {})


def _median_score(found: Found, units: list[int], *, accepted: bool) -> float | None:
    """Median over reference units of the mean over models of the best r; None without units."""
    models = found.models.values()
    buddies = [judged.accepted if accepted else judged.buddies for judged in models]
    return round(median(mean_of_best(buddies, units, "r").tolist()), 6) if units else None
