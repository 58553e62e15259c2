"""Edit images through Rosetta units: ``python -m rosetta_lab.edit edit=[zoom,shift]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor
from yaml import YAMLError  # type: ignore[import-untyped]

from rosetta_lab.config import entry_point, make_trainer, plain
from rosetta_lab.data.images import ImageFolder
from rosetta_lab.edit_runs import (
    Arm,
    ConceptStrengths,
    EditRun,
    direct_arm,
    example_maps,
    own_images,
    run_arm,
)
from rosetta_lab.edit_sources import from_file, from_images, from_seeds, reference
from rosetta_lab.editing import Editing, OwnUnits, SeenUnits, Sources
from rosetta_lab.edits import Edit, compose
from rosetta_lab.errors import RosettaError, check_choice, check_count
from rosetta_lab.files import atomic_write
from rosetta_lab.functional.agreement import Normalization
from rosetta_lab.inverting import Inversion
from rosetta_lab.latent_code import Space
from rosetta_lab.mined import Mined, check_targets, load_mined
from rosetta_lab.models.checkpoints import load_into, load_weights
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.modules.inversion import InversionModule
from rosetta_lab.pivotal_tuning import TUNED
from rosetta_lab.report.edit_numbers import edit_table
from rosetta_lab.report.edits import write_edits
from rosetta_lab.rosetta_units import RosettaUnits, load_statistics, matched_pairs

Pairs = dict[str, Tensor]
RECIPE = "recipe.yaml"
NOT_IN_RECIPES = ("logger", "trainer", "experiments", "resume", "recipe")


@entry_point("edit")
def main(cfg: DictConfig) -> EditRun:
    folder = Path(HydraConfig.get().runtime.output_dir)
    cfg = with_recipe(cfg)
    check_count("steps", cfg.steps)
    if cfg.normalization is not None:
        check_choice("normalization", cfg.normalization, get_args(Normalization))
    trainer = make_trainer(cfg, folder, bar=False)
    mined = load_mined(cfg.dictionary, trainer.strategy.root_device)
    mined.fill_in(cfg)
    edit = compose(instantiate(entry) for entry in cfg.edit.values())
    sources, space, pictures = load_sources(cfg, mined, "w+" if edit.strength else "z")
    edited, kept = chosen_units(cfg, mined)

    def pose(units: OwnUnits | SeenUnits, others: OwnUnits | SeenUnits | None = None) -> Editing:
        low = reference(mined.generator, cfg.reference_images, space, cfg.psi, mined.latent)
        how = {"keep": float(cfg.keep), "space": space, "psi": cfg.psi}
        how |= {"seed": cfg.seed, "distribution": mined.latent}
        return Editing(mined.generator, edit, units, others, low, cfg.loss, **how)

    def optimise(editing: Editing) -> Arm:
        how = {key: cfg[key] for key in ("steps", "lr", "rampup", "rampdown")}
        return run_arm(editing, sources, cfg.frames, cfg.trainer.enable_progress_bar, **how)

    how: Normalization = cfg.normalization or ("distance" if edit.strength else "cosine")
    others = target_units(cfg, mined, kept, how)
    editing = pose(target_units(cfg, mined, edited, how), others)
    run = EditRun(edit, sources, own_images(editing, sources), pictures)
    run.arms["rosetta"] = optimise(editing)
    run.maps = example_maps(editing, sources, run.arms["rosetta"])
    if cfg.controls:
        run.arms["random units"] = optimise(pose(own_units(mined, random(cfg, mined, edited), how)))
        run.arms["activations"] = direct_arm(pose(own_units(mined, numbers(edited))), sources)
    if cfg.concepts is not None or cfg.neurons is not None:
        add_selectivity(cfg, mined, run, editing)
    run.measure(mined.classifier(cfg.classifier))
    run.save(folder)
    recipe = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in NOT_IN_RECIPES])
    atomic_write(folder / RECIPE, OmegaConf.to_yaml(recipe, resolve=True).encode())
    page = write_edits(folder, run, cfg, mined.dictionary)
    print(edit_table(run))
    print(f"Look at it: {page.resolve()}")
    print(f"Do it again: python -m rosetta_lab.edit recipe={folder / RECIPE}")
    return run


def with_recipe(cfg: DictConfig) -> DictConfig:
    """The config, with what a recipe says in the place of what was asked.

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


def load_sources(
    cfg: DictConfig, mined: Mined, default: Space = "z"
) -> tuple[Sources, Space, Tensor | None]:
    """What to edit, in which space, and the pictures that it was inverted from.

    ``default`` is the space of seeds unless ``cfg`` names one.
    """
    generator, how = mined.generator, cfg.inversion
    label = mined.class_number(cfg.latent.label)
    if cfg.images is not None:
        mined.fill_in(how)
        folder = ImageFolder(cfg.images, generator.resolution)
        inversion = Inversion(
            generator,
            None,
            instantiate(cfg.perceptual).to(mined.device),
            how.loss,
            space=how.space,
            psi=cfg.psi,
            label="inferred" if label is None else label,
            classifier=mined.classifier(cfg.classifier),
            distribution=mined.latent,
        )
        module = InversionModule(
            inversion, how.steps, how.lr, progress=cfg.trainer.enable_progress_bar
        )
        targets = [folder[place] for place in range(len(folder))]
        pictures = torch.stack([target.image for target in targets])
        return from_images(targets, module), how.space, pictures
    if cfg.latent.file is not None:
        path = Path(cfg.latent.file)
        sources, space = from_file(generator, path, cfg.space)
        if (tuned := path.parent / TUNED).is_file():
            load_into(generator, load_weights(str(tuned)))  # what pivotal tuning made of it
        return sources, space, None
    seeds = [cfg.latent.seed] if isinstance(cfg.latent.seed, int) else list(cfg.latent.seed)
    space = cfg.space if cfg.space is not None else default
    return from_seeds(generator, seeds, label, space, cfg.psi, mined.latent), space, None


def chosen_units(cfg: DictConfig, mined: Mined) -> tuple[Pairs, Pairs]:
    """Matched pairs that are edited, and those that are to stay as they are."""
    asked = [plain(cfg[key]) for key in ("matches", "pool", "concepts", "neurons", "layers")]
    edited = matched_pairs(mined.dictionary, *asked)
    if not cfg.keep or all(value is None for value in asked[2:]):
        return edited, {}
    units = numbers(edited)
    every = matched_pairs(mined.dictionary, *asked[:2])
    return edited, {name: rows[~torch.isin(rows[:, 0], units)] for name, rows in every.items()}


def numbers(pairs: Pairs) -> Tensor:
    """The generator's units in matched pairs (U,), each once."""
    units: Tensor = torch.cat([rows[:, 0] for rows in pairs.values()]).unique()
    return units


def random(cfg: DictConfig, mined: Mined, edited: Pairs) -> Tensor:
    """As many random units of the generator as are edited, of the same layers."""
    source = torch.Generator().manual_seed(cfg.seed)
    units = mined.dictionary.generator.units
    chosen = []
    edited_units = numbers(edited)
    for layer in units.layers:
        span = units.units(layer.name)
        count = int(((edited_units >= span.start) & (edited_units < span.stop)).sum())
        picked = torch.randperm(layer.channels, generator=source)[:count]
        chosen.append(picked + span.start)
    return torch.cat(chosen)


def own_units(mined: Mined, chosen: Tensor, normalization: Normalization = "cosine") -> OwnUnits:
    """Units of the generator as their own targets."""
    card = mined.dictionary.generator
    return OwnUnits(
        mined.generator,
        card.units,
        chosen,
        load_statistics(mined.folder, card.name),
        {layer.name: layer.size for layer in card.layers},
        normalization,
    )


def target_units(cfg: DictConfig, mined: Mined, pairs: Pairs, normalization: Normalization) -> Any:
    """Where the target maps of pairs come from; None for no pairs."""
    if not sum(map(len, pairs.values())):
        return None
    if cfg.origin == "generator":
        return own_units(mined, numbers(pairs), normalization)
    if cfg.origin != "models":
        raise RosettaError(f"origin={cfg.origin}: expected generator or models.")
    models = mined.models(pairs)
    units = RosettaUnits(mined.dictionary, mined.folder, models, pairs, normalization)
    return SeenUnits(units.to(mined.device))


def add_selectivity(cfg: DictConfig, mined: Mined, run: EditRun, editing: Editing) -> None:
    """How much the edited concepts changed, and the others, for every arm with latents."""
    edited = sorted(
        {*(cfg.concepts or ()), *(mined.dictionary.neurons[n].concept for n in cfg.neurons or ())}
    )
    low = reference(mined.generator, cfg.reference_images, editing.space, cfg.psi, mined.latent)
    strengths = ConceptStrengths(
        mined.dictionary, lambda chosen: own_units(mined, chosen), low, editing
    )
    for arm in run.arms.values():
        if arm.latent is not None:
            rows = strengths.selectivity(run.sources, arm.latent, edited)
            arm.figures = [{**a, **b} for a, b in zip(arm.figures, rows, strict=True)]


if __name__ == "__main__":
    main()
