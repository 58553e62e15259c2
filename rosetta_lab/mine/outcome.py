"""What a run found, whether one model is the reference or every one in turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lightning as L
from omegaconf import DictConfig

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.data.inputs import GivenImages, Inputs
from rosetta_lab.dictionary.build import Clique
from rosetta_lab.dictionary.evidence import Found, find
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine.pairs import EveryPair, mine_pairs
from rosetta_lab.mine.passes import mine
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.models.images import EVERY
from rosetta_lab.models.load import load_inputs
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        result: the reference's neighbours, and every model's statistics.
        shapes: of the models' layers, the reference's first.
        grouping: of the images.
        found: best buddies and Rosetta units, judged.
        parts: the same of parts of the images, by name.
        every: where every model was the reference, the pairs; else None.
    """

    result: MiningResult
    shapes: dict[str, list[Layer]]
    grouping: Grouping
    found: Found
    parts: dict[str, Found]
    every: EveryPair | None = None
    cliques: list[Clique] | None = None


def find_out(
    cfg: DictConfig,
    observer: Observer,
    inputs: Inputs,
    trainer: L.Trainer,
    tables: Path | None = None,
) -> Outcome | None:
    """Mine as a config asks for it; only the first process of several has an outcome.

    Args: see :func:`rosetta_lab.mine.passes.mine`.
    """
    if cfg.reference == EVERY:
        shapes = shapes_of(observer, inputs.batch([0]))
        every = mine_pairs(cfg, observer, inputs, trainer, shapes, tables)
        if every is None:
            return None
        result = every.first
        parts = {part: every.found(part) for part in result.parts}
        found, cliques = every.found(), every.cliques()
        return Outcome(result, shapes, every.grouping, found, parts, every, cliques)
    found_all, module = mine(cfg, observer, inputs, trainer, tables)
    if found_all is None:
        return None
    how = (cfg.k_disc, cfg.k_gen, cfg.max_fdr)
    parts = {part: find(matchings, *how) for part, matchings in found_all.parts.items()}
    return Outcome(
        found_all, module.shapes, module.grouping, find(found_all.matchings, *how), parts
    )


def checked_inputs(cfg: DictConfig, observer: Observer) -> Inputs:
    """What a run shows its models; of given images, only those that can be read.

    Raises:
        RosettaError: none can be; or they are to be shuffled within classes that they have not.
    """
    inputs = load_inputs(cfg, observer)
    if isinstance(inputs, GivenImages):
        inputs.checked()
    if cfg["null"] == "within_class" and not inputs.classes:
        raise RosettaError(
            "null=within_class: these images do not come one of each class in turn.\n"
            "Choose images that have classes, all of them equally often, or null=shuffled."
        )
    return inputs
