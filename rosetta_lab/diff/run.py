"""A comparison of models on the same images: coverage, alignment, factors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, cast

import lightning as L
import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor
from tqdm import tqdm

from rosetta_lab.data.inputs import GivenImages
from rosetta_lab.diff.coverage import Coverage, coverages
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.alignment import Alignment, aligned, gram, neighbourhood, standardised
from rosetta_lab.functional.factors import (
    correlation_ratio,
    in_groups,
    shuffled_superiority,
    superiority,
)
from rosetta_lab.mine.pairs import EveryPair, mine_pairs
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.images import EVERY
from rosetta_lab.models.load import apply_overrides
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import UnitIndex
from rosetta_lab.models.vectors import vectors

GROUPS = 8  # of images, by a factor that is a number
LOOKED_AT = 32  # images at a time
CKA, KNN = "linear CKA", "mutual nearest neighbours"
Pair = tuple[str, str]


class Telling(NamedTuple):
    """How much units without a partner tell of a factor, beside those with one.

    Attributes:
        alone: mean correlation ratio of the units without a partner.
        partnered: of those with one.
        superiority: probability that one of the former tells more than one of the latter.
        chance: the same of units drawn from the same layers.
        p: share of such draws, with the units themselves, that reach it.
    """

    alone: float
    partnered: float
    superiority: float
    chance: float
    p: float


@dataclass
class Difference:
    """What a comparison found.

    Attributes:
        units: of every model.
        every: the matched pairs of models.
        coverage: of a model's units (first) in another one (second).
        alignment: by score, then by pair of models.
        told: by factor, how much of it every unit of a model tells, by model (U,).
        telling: by factor and pair, as in ``coverage``.
        images: how many were looked at.
    """

    units: dict[str, UnitIndex]
    every: EveryPair
    coverage: dict[Pair, Coverage]
    alignment: dict[str, dict[Pair, Alignment]]
    told: dict[str, dict[str, Tensor]]
    telling: dict[str, dict[Pair, Telling]]
    images: int


def mining_config(cfg: DictConfig) -> DictConfig:
    """A copy with all that mining every pair asks for.

    Units are matched by r less each position's mean: two models that look at the middle of images
    have that in common, whatever they see there.
    """
    if cfg["null"] == "none":
        raise RosettaError(
            "null=none: without other images nothing tells a partner from a chance neighbour.\n"
            "Choose null=shuffled or null=within_class."
        )
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.update({"gen": None, "psi": None, "classes": None, "reference": EVERY, "blocks": 1})
        cfg.update({"correlation": "pooled", "center": "position", "control": None})
        cfg.k_gen = cfg.k_disc = cfg.k
    return apply_overrides(cfg)


def compare(
    cfg: DictConfig, observer: Observer, inputs: GivenImages, trainer: L.Trainer
) -> Difference | None:
    """Compare every two models; only the first process of several has a result.

    Args:
        cfg: of :func:`mining_config`.
        observer: the models.
        inputs: what they are shown, checked.
        trainer: runs the passes.

    Raises:
        RosettaError: there are fewer images than neighbours.
    """
    if cfg.neighbours >= len(inputs):
        raise RosettaError(
            f"neighbours={cfg.neighbours}: there are only {len(inputs)} images.\n"
            "Use more images, or fewer neighbours."
        )
    device = trainer.strategy.root_device
    shapes = shapes_of(observer.to(device), inputs.batch([0]))
    every = mine_pairs(cfg, observer, inputs, trainer, shapes)
    if every is None:
        return None
    models = cast(Mapping[str, DiscriminativeModel], dict(observer.to(device).models.items()))
    factors: dict[str, list[float]] = {}
    shown = tqdm(
        _images(inputs, factors),
        "Units' means",
        -(-len(inputs) // LOOKED_AT),
        leave=False,
        disable=not cfg.trainer.enable_progress_bar,
    )
    found = vectors(models, shown, lambda model, layer, maps: maps.float().mean(dim=(2, 3)))
    means = {name: torch.cat(list(own.values()), dim=1) for name, own in found.items()}
    coverage = coverages(every)
    told = {
        factor: {name: correlation_ratio(own, groups) for name, own in means.items()}
        for factor, groups in _groups(factors).items()
    }
    telling = {
        factor: {
            pair: _telling(one, of_factor[one.model], every.units[one.model], cfg)
            for pair, one in coverage.items()
        }
        for factor, of_factor in told.items()
    }
    return Difference(
        every.units, every, coverage, _alignment(means, cfg), told, telling, len(inputs)
    )


def _images(inputs: GivenImages, factors: dict[str, list[float]]) -> Iterator[Tensor]:
    """The images in batches; what is known of them is added to ``factors`` on the way."""
    for start in range(0, len(inputs), LOOKED_AT):
        targets = [inputs.targets[n] for n in inputs.numbers[start : start + LOOKED_AT]]
        for target in targets:
            label = {} if target.label is None else {"class": float(target.label)}
            for name, value in {**label, **target.truth}.items():
                factors.setdefault(name, []).append(value)
        yield torch.stack([target.image for target in targets])


def _groups(factors: Mapping[str, list[float]]) -> dict[str, Tensor]:
    """Images by factor in groups: classes, or ``GROUPS`` by size; factors that all images have."""
    longest = max(map(len, factors.values()), default=0)
    found = {}
    for name, values in factors.items():
        numbers = torch.tensor(values, dtype=torch.float64)
        groups = numbers.long() if name == "class" else in_groups(numbers, GROUPS)
        if len(values) == longest and len(groups.unique()) > 1:
            found[name] = groups
    return found


def _telling(coverage: Coverage, told: Tensor, index: UnitIndex, cfg: DictConfig) -> Telling:
    units = coverage.alive.nonzero().flatten()
    layers = torch.cat(
        [torch.full((layer.channels,), place) for place, layer in enumerate(index.layers)]
    )
    alone, values = ~coverage.partner[units], told[units]
    chance, p = shuffled_superiority(values, alone, layers[units], cfg.permutations, cfg.seed)
    means = [float(values[which].mean()) for which in (alone, ~alone)]
    return Telling(means[0], means[1], superiority(values, alone), chance, p)


def _alignment(means: Mapping[str, Tensor], cfg: DictConfig) -> dict[str, dict[Pair, Alignment]]:
    values = {name: standardised(own) for name, own in means.items()}
    kinds = {
        CKA: {name: gram(own) for name, own in values.items()},
        KNN: {name: neighbourhood(own, cfg.neighbours) for name, own in values.items()},
    }
    return {
        kind: {
            (a, b): aligned(of_models[a], of_models[b], cfg.permutations, cfg.seed)
            for a, b in combinations(means, 2)
        }
        for kind, of_models in kinds.items()
    }
