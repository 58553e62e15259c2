"""Where a run's images come from, and which of its models all are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.data.images import ImageFolder
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.base import DiscriminativeModel

EVERY = "all"  # as reference: every model in turn


def entries_of(cfg: DictConfig) -> dict[str, DictConfig]:
    """The config's entries of all models by name, the generator's first."""
    gen = cfg.get("gen")
    own = {} if gen is None else {gen.name: gen}
    return {**own, **cfg.disc}


def reference_of(cfg: DictConfig) -> str:
    """Name of the model that all are compared with; the first where every one is in turn."""
    first: str = next(iter(entries_of(cfg)))
    named = cfg.get("reference")
    return next(iter(cfg.disc)) if named == EVERY else named or first


def check_images(cfg: DictConfig) -> None:
    """See that a run's images come from one place, and that nothing is asked of another.

    Raises:
        RosettaError: they come from a generator and from a data set, or from none; what only a
            generator has is given without one; there is no such reference.
    """
    given = [key for key in ("data", "images") if cfg.get(key) is not None]
    if cfg.gen is not None and given:
        raise RosettaError(
            f"gen={cfg.gen.name} and {given[0]}=...: images are generated or given, not both.\n"
            f"Leave {given[0]} out, or pass gen=null."
        )
    if cfg.gen is None:
        if not given:
            raise RosettaError(
                "gen=null: there are no images to look at.\n"
                "Name some: data=fashion_scenes (see conf/data) or data=FOLDER."
            )
        for key in ("psi", "classes"):
            if cfg[key] is not None:
                raise RosettaError(
                    f"{key}={cfg[key]}: without a generator there is nothing that it is about.\n"
                    f"Leave it out; data. has settings of its own."
                )
    names = [*entries_of(cfg), EVERY]
    if cfg.get("reference") not in (None, *names):
        raise RosettaError(
            f"reference={cfg.reference}: there is no such model in this run.\n"
            f"Choose from {', '.join(names)}."
        )


def largest_input(models: Iterable[DiscriminativeModel]) -> int:
    """Height or width in pixels that the model wants that wants most."""
    return max(max(model.preprocess.size) for model in models)


def load_targets(cfg: DictConfig, size: int) -> Any:
    """The images that a run's config asks for, ``size`` pixels high and wide.

    Raises:
        RosettaError: there are none, or it is not said where they are.
    """
    if cfg.images is not None:
        return ImageFolder(cfg.images, size)
    if missing := sorted(OmegaConf.missing_keys(cfg.data)):
        raise RosettaError(
            f"{missing[0]} is not given.\n"
            f"Name images=FILE or FOLDER, or {missing[0]}=... (see conf/data)."
        )
    return instantiate(cfg.data, size=size)
