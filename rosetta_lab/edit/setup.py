"""From a config to what an edit needs."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.images import ImageFolder
from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.dictionary.pairs import Pairs, matched_pairs, reference_units
from rosetta_lab.edit.arms import (
    ConceptStrengths,
    EditRun,
)
from rosetta_lab.edit.edits import Edit
from rosetta_lab.edit.problem import Editing
from rosetta_lab.edit.recipe import load_distance
from rosetta_lab.files import path_of
from rosetta_lab.functional.agreement import Normalization
from rosetta_lab.invert.latent_code import Space
from rosetta_lab.invert.optimise import optimise
from rosetta_lab.invert.pivotal_tuning import TUNED
from rosetta_lab.invert.problem import Inversion, one_batch
from rosetta_lab.invert.sources import Sources, from_file, from_seeds, reference
from rosetta_lab.invert.units import OwnUnits, SeenUnits, own_units, target_units
from rosetta_lab.models.checkpoints import load_into, load_weights
from rosetta_lab.run.configs import plain


def filled_in(cfg: DictConfig, mined: Mined) -> DictConfig:
    """A copy of a run's config with what it leaves to the mining run."""
    cfg = mined.filled_in(cfg)
    if cfg.images is not None:
        cfg.inversion = mined.filled_in(cfg.inversion)
    return cfg


def load_sources(cfg: DictConfig, mined: Mined, default: Space = "z") -> tuple[Sources, Space]:
    """What to edit, and in which space.

    ``default`` is the space of seeds unless ``cfg`` names one.
    """
    generator, how = mined.generator, cfg.inversion
    label = mined.class_number(cfg.latent.label)
    if cfg.images is not None:
        folder = ImageFolder(cfg.images, generator.resolution)
        inversion = Inversion(
            generator,
            None,
            load_distance(cfg).to(mined.device),
            how.loss,
            space=how.space,
            psi=cfg.psi,
            label="inferred" if label is None else label,
            classifier=mined.classifier(cfg.classifier),
            distribution=mined.distribution(cfg.psi),
        )
        batch = one_batch([folder[place] for place in range(len(folder))])
        code, objective = inversion(batch)
        if how.steps:  # else the edit starts where the inversion would
            progress = cfg.trainer.enable_progress_bar
            optimise((code, objective), how.steps, how.lr, progress=progress)
        latent, c = code.value.detach(), code.class_weights
        c = None if c is None else c.detach()
        return Sources(batch.ids, latent, c, batch.images.to(latent.device)), how.space
    if cfg.latent.file is not None:
        path = path_of(str(cfg.latent.file))
        sources, space = from_file(generator, path, cfg.space)
        if (tuned := path.parent / TUNED).is_file():
            load_into(generator, load_weights(str(tuned)))  # what pivotal tuning made of it
        return sources, space
    seeds = [cfg.latent.seed] if isinstance(cfg.latent.seed, int) else list(cfg.latent.seed)
    space = cfg.space if cfg.space is not None else default
    return from_seeds(generator, seeds, label, space, **mined.prior(cfg.psi)), space


def chosen_units(cfg: DictConfig, mined: Mined) -> tuple[Pairs, Pairs]:
    """Matched pairs that are edited, and those that are to stay as they are."""
    whole = {key: plain(cfg[key]) for key in ("matches", "pool")}
    part = {key: plain(cfg[key]) for key in ("concepts", "neurons", "layers")}
    edited = matched_pairs(mined.dictionary, **whole, **part, limit=cfg.pairs, seed=cfg.seed)
    if not cfg.keep or all(value is None for value in part.values()):
        return edited, {}
    units = reference_units(edited)
    every = matched_pairs(mined.dictionary, **whole)
    return edited, {name: rows[~torch.isin(rows[:, 0], units)] for name, rows in every.items()}


def agreement_of(cfg: DictConfig, edit: Edit) -> Normalization:
    """How maps are compared: as asked for, else by what the edit is about."""
    found: Normalization = cfg.normalization or ("distance" if edit.strength else "cosine")
    return found


def space_of(edit: Edit) -> Space:
    """Of the latents of seeds, unless another is asked for."""
    return "w+" if edit.strength else "z"


def pose(
    cfg: DictConfig,
    mined: Mined,
    edit: Edit,
    space: Space,
    units: OwnUnits | SeenUnits,
    others: OwnUnits | SeenUnits | None = None,
) -> Editing:
    """Poses the edit of some units, while others stay as they are."""
    low = reference(mined.generator, cfg.reference_images, space, **mined.prior(cfg.psi))
    how = {"keep": float(cfg.keep), "space": space, "psi": cfg.psi}
    how |= {"seed": cfg.seed, "distribution": mined.distribution(cfg.psi)}
    return Editing(mined.generator, edit, units, others, low, cfg.loss, **how)


def control(
    cfg: DictConfig, mined: Mined, edited: Pairs, kept: Pairs, how: Normalization
) -> tuple[OwnUnits | SeenUnits, OwnUnits | SeenUnits | None]:
    """What an edit is held against: units that nothing has matched, and those that are to stay.

    Of the generator's own maps, those of as many random units; of models' maps, those of random
    units in place of the matched ones.
    """
    if cfg.origin == "models":
        source = torch.Generator().manual_seed(cfg.seed)
        units = {name: len(card.units) for name, card in mined.dictionary.discriminative.items()}
        drawn = {
            name: torch.stack(
                [rows[:, 0], torch.randint(units[name], (len(rows),), generator=source)], dim=1
            )
            for name, rows in edited.items()
        }
        return target_units(cfg, mined, drawn, how), target_units(cfg, mined, kept, how)
    chosen = random(cfg, mined, edited)
    others = {name: rows[~torch.isin(rows[:, 0], chosen)] for name, rows in kept.items()}
    return own_units(mined, chosen, how), target_units(cfg, mined, others, how)


def random(cfg: DictConfig, mined: Mined, edited: Pairs) -> Tensor:
    """As many random units of the generator as are edited, of the same layers."""
    source = torch.Generator().manual_seed(cfg.seed)
    units = mined.dictionary.reference.units
    chosen = []
    edited_units = reference_units(edited)
    for layer in units.layers:
        span = units.units(layer.name)
        count = int(((edited_units >= span.start) & (edited_units < span.stop)).sum())
        picked = torch.randperm(layer.channels, generator=source)[:count]
        chosen.append(picked + span.start)
    return torch.cat(chosen)


def add_selectivity(cfg: DictConfig, mined: Mined, run: EditRun, editing: Editing) -> None:
    """How much the edited concepts changed, and the others, for every arm with latents."""
    edited = sorted(
        {*(cfg.concepts or ()), *(mined.dictionary.neurons[n].concept for n in cfg.neurons or ())}
    )
    prior = mined.prior(cfg.psi)
    low = reference(mined.generator, cfg.reference_images, editing.space, **prior)
    strengths = ConceptStrengths(
        mined.dictionary, lambda chosen: own_units(mined, chosen), low, editing
    )
    for arm in run.arms.values():
        if arm.latent is not None:
            rows = strengths.selectivity(run.sources, arm.latent, edited)
            arm.figures = [{**a, **b} for a, b in zip(arm.figures, rows, strict=True)]
