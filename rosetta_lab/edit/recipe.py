"""Doing an earlier edit again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from rosetta_lab.edit.edits import Edit, compose
from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import atomic_write, path_of
from rosetta_lab.invert.setup import load_perceptual
from rosetta_lab.models.options import refusing
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.models.registry import PERCEPTUAL, Kinds, check_sources
from rosetta_lab.run.command_line import parse
from rosetta_lab.run.configs import NO_RESULT, all_moved, matters, plain, unresolved, without
from rosetta_lab.run.foreign import TARGET, Strict, check_closed, check_record, read_yaml

RECIPE = "recipe.yaml"
WHOLE = ("edit", "perceptual")  # these stand instead of, not beside, the defaults


class Lenient(Strict, extra="ignore"):
    """Of what others wrote, the numbers on which it depends how long a run takes."""


class LatentAsked(Lenient):
    """``latent`` of a recipe: all images of its seeds are edited at once."""

    seed: int | Annotated[list[int], Field(max_length=1000)] | None = None


class InversionAsked(Lenient):
    """``inversion`` of a recipe."""

    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Asked(Lenient):
    """A recipe."""

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    reference_images: Annotated[int, Field(ge=1, le=10_000)] = 1
    frames: Annotated[int, Field(ge=0, le=10_000)] = 0
    latent: LatentAsked = LatentAsked()
    inversion: InversionAsked = InversionAsked()


EDITS = Kinds(
    "rosetta_lab.edit.edits.Edit",
    {
        name: f"rosetta_lab.edit.edits.{kind}"
        for name, kind in {
            "zoom": "Zoom",
            "shift": "Shift",
            "copy_paste": "CopyPaste",
            "suppress": "Suppress",
            "amplify": "Amplify",
        }.items()
    },
)


def with_recipe(cfg: DictConfig, arguments: Sequence[str] = ()) -> DictConfig:
    """A config with what its recipe says in the place of defaults.

    A recipe may be anybody's: it is data, and says nothing of how the run is started or watched.

    Args:
        cfg: of the run, with ``recipe``, a path or None.
        arguments: of the command line, which go before the recipe.

    Raises:
        RosettaError: there is no such recipe, or it asks for something that is no edit.
    """
    if cfg.recipe is None:
        return cfg
    name = f"recipe={cfg.recipe}"
    recipe = all_moved(read_yaml(path_of(cfg.recipe)))
    if not isinstance(recipe, dict) or not isinstance(recipe.get("edit"), dict):
        raise RosettaError(f"{name}: it holds no edit.\nName the recipe.yaml of an edit's folder.")
    check_closed(recipe, name)
    check_record(Asked, recipe, name)
    _check_targets(recipe, name)
    for key in recipe:
        if key in NO_RESULT:
            raise RosettaError(
                f"{name}: '{key}' is refused: it is not part of an edit.\n"
                "Pass it on the command line."
            )
    try:
        merged = OmegaConf.merge(cfg, {k: v for k, v in recipe.items() if k not in WHOLE})
        assert isinstance(merged, DictConfig)
        for key in WHOLE:
            if key in recipe:
                merged[key] = recipe[key]
        for key in asked(cfg, arguments):
            if OmegaConf.select(merged, key.rpartition(".")[0]) is None and "." in key:
                raise RosettaError(
                    f"{key}: {name} has no {key.rpartition('.')[0]}.\n"
                    "Change what it has, or name the whole group, such as edit=[shift]."
                )
            OmegaConf.update(merged, key, plain(OmegaConf.select(cfg, key)), merge=False)
    except (OmegaConfBaseException, ValueError) as error:
        reason = printable(str(error).splitlines()[0])
        raise RosettaError(f"{name}: cannot be read ({reason}).") from None
    fetched = [recipe.get("perceptual") or {}]
    if merged.get("dictionary") == recipe.get("dictionary"):
        fetched.append({"weights": recipe.get("dictionary")})
    check_sources(fetched, bool(cfg.get("trust_sources")))
    return merged


def asked(cfg: DictConfig, arguments: Sequence[str]) -> list[str]:
    """The keys of a config that a command line gives values to, on which a result depends.

    Those that take their values from such keys (``loss.latent_l2`` from ``alpha``) are among them.

    Raises:
        RosettaError: it names an experiment, whose keys are not told apart from a recipe's.
    """
    keys = []
    for override in parse(list(arguments)):
        name, _, package = override.key_or_group.partition("@")
        key = (package or override.package or name).replace("/", ".")
        if name == "experiments":
            raise RosettaError("experiments= and recipe=: name one of them.")
        if name == "zoo":
            key = "perceptual"  # what the zoo is chosen for
        if not key.startswith("hydra") and matters(key) and not override.is_delete():
            keys.append(key)
    written = dict(_leaves(unresolved(cfg)))
    return keys + [
        key for key, value in written.items() if any(f"${{{one}}}" in str(value) for one in keys)
    ]


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested mappings, with its dotted key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _check_targets(recipe: dict[str, Any], name: str) -> None:
    """Look up every class that a recipe names, before anything is done for it."""
    for entry in recipe["edit"].values():
        EDITS.find(entry.get(TARGET) if isinstance(entry, dict) else entry)
    if "perceptual" in recipe:
        entry = recipe["perceptual"]
        PERCEPTUAL.find(entry.get(TARGET) if isinstance(entry, dict) else entry)
    for key, value in recipe.items():
        if key not in WHOLE and TARGET in _keys(value):
            raise RosettaError(
                f"{name}: '{printable(key)}' names a class; refused.\n"
                "Use the recipe.yaml that an edit wrote."
            )


def _keys(value: Any) -> set[str]:
    """The keys of mappings, however deep."""
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set(value).union(*map(_keys, value.values())) if isinstance(value, dict) else set()


def load_edit(cfg: DictConfig) -> Edit:
    """The edit that a run's config asks for, or its recipe."""
    make = instantiate if cfg.recipe is None else EDITS.make
    if not cfg.get("edit"):  # of an empty list, Hydra makes no key
        raise RosettaError("edit=[]: nothing to do.\nName at least one edit, such as edit=zoom.")
    with refusing("The edit"):
        return compose(make(entry) for entry in cfg.edit.values())


def load_distance(cfg: DictConfig) -> Perceptual:
    """The perceptual distance that a run's config asks for, or its recipe."""
    make = instantiate if cfg.recipe is None else PERCEPTUAL.make
    with refusing("The perceptual distance"):
        return load_perceptual(cfg.perceptual, make=make)


def followed(cfg: DictConfig) -> AbstractContextManager[None]:
    """Within, say in two lines what cannot be done with the values of a recipe, if there is one."""
    return nullcontext() if cfg.recipe is None else refusing(f"recipe={cfg.recipe}")


def write_recipe(folder: Path, cfg: DictConfig) -> Path:
    """Write what an edit's result depends on, for ``recipe=FILE``."""
    path = folder / RECIPE
    atomic_write(path, OmegaConf.to_yaml(without(cfg, NO_RESULT), resolve=True).encode())
    return path
