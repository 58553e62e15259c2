"""Doing an earlier edit again."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from rosetta_lab.dictionary.mined import check_targets
from rosetta_lab.edit.edits import Edit
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.run.configs import NO_RESULT, follow_moves, without

RECIPE = "recipe.yaml"


def with_recipe(cfg: DictConfig) -> DictConfig:
    """A config with what its recipe says in the place of what was asked.

    Raises:
        RosettaError: there is no such recipe, or it asks for something that is no edit.
    """
    if cfg.recipe is None:
        return cfg
    try:
        recipe = OmegaConf.load(cfg.recipe)
        if not isinstance(recipe, DictConfig) or not isinstance(recipe.get("edit"), DictConfig):
            raise RosettaError(
                f"recipe={cfg.recipe}: it holds no edit.\nName the recipe.yaml of an edit's folder."
            )
        recipe = follow_moves(recipe)
        check_targets(recipe, Edit, Perceptual, DiscriminativeModel)
        # These stand instead of, not beside, the defaults.
        whole = {key: recipe.pop(key) for key in ("edit", "perceptual") if key in recipe}
        merged = OmegaConf.merge(cfg, recipe)
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise RosettaError(f"recipe={cfg.recipe}: cannot be read ({reason}).") from None
    assert isinstance(merged, DictConfig)
    for key, entry in whole.items():
        merged[key] = entry
    return merged


def write_recipe(folder: Path, cfg: DictConfig) -> Path:
    """Write what an edit's result depends on, for ``recipe=FILE``."""
    path = folder / RECIPE
    atomic_write(path, OmegaConf.to_yaml(without(cfg, NO_RESULT), resolve=True).encode())
    return path
