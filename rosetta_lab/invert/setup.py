"""From a config to what an inversion needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.errors import advising, check_choice
from rosetta_lab.functional.agreement import Normalization
from rosetta_lab.invert.judge import Judge
from rosetta_lab.invert.problem import Inversion
from rosetta_lab.invert.units import RosettaUnits
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.run.configs import WATCHING, plain, without


def load_inversion(cfg: DictConfig, mined: Mined) -> Inversion:
    """What poses the problems, as a run's config, see :meth:`Mined.filled_in`, asks for it."""
    check_choice("normalization", cfg.normalization, get_args(Normalization))
    pairs = matched_pairs(
        mined.dictionary,
        limit=cfg.pairs,
        seed=cfg.seed,
        **{
            key: plain(cfg[key])
            for key in ("matches", "pool", "concepts", "neurons", "layers", "k")
        },
    )
    models = mined.models(pairs)
    units = None
    if pairs:
        units = RosettaUnits(mined.dictionary, mined.folder, models, pairs, cfg.normalization)
    perceptual = None
    if cfg.loss.perceptual:
        perceptual = load_perceptual(cfg.perceptual).to(mined.device)
    return Inversion(
        mined.generator,
        None if units is None else units.to(mined.device),
        perceptual,
        {**cfg.loss, "activation": cfg.loss.activation if pairs else 0.0},
        space=cfg.space,
        start=cfg.start,
        psi=cfg.psi,
        label=mined.class_number(cfg.label),
        classifier=mined.classifier(cfg.classifier, models),
        optimize_class=cfg.optimize_class,
        seed=cfg.seed,
        distribution=mined.distribution(cfg.psi),
    )


def load_judge(
    cfg: DictConfig, classifier: DiscriminativeModel | None, device: torch.device
) -> Judge:
    """The figures that a run's config asks for."""
    judges = [load_perceptual(judge, f"judges.{name}") for name, judge in cfg.judges.items()]
    return Judge([judge.to(device) for judge in judges], classifier)


def load_perceptual(
    entry: DictConfig, key: str = "perceptual", make: Callable[[DictConfig], Any] = instantiate
) -> Perceptual:
    """The perceptual distance of a config's entry; ``key`` names it in messages."""
    with advising(f"{key}.weights=PATH, or zoo=embedded"):
        distance: Perceptual = make(entry)
    return distance


def settings(cfg: DictConfig) -> str:
    """What a run was asked to do, in YAML; of its trainer only a precision that was asked for."""
    asked = without(cfg, (*WATCHING, "trainer"))
    if precision := cfg.trainer.get("precision"):
        asked.trainer = {"precision": precision}
    return OmegaConf.to_yaml(asked, resolve=True)
