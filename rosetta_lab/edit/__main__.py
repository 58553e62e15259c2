"""Edit images through Rosetta units: ``python -m rosetta_lab.edit edit=[zoom,shift]``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import get_args

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.dictionary.mined import Mined, load_mined
from rosetta_lab.dictionary.pairs import reference_units
from rosetta_lab.edit.arms import (
    EditArm,
    EditRun,
    direct_arm,
    example_maps,
    own_images,
    run_arm,
)
from rosetta_lab.edit.numbers import edit_table
from rosetta_lab.edit.page.index import write_edits
from rosetta_lab.edit.problem import Editing
from rosetta_lab.edit.recipe import followed, load_edit, with_recipe, write_recipe
from rosetta_lab.edit.setup import (
    add_selectivity,
    agreement_of,
    chosen_units,
    control,
    filled_in,
    load_sources,
    pose,
    space_of,
)
from rosetta_lab.errors import check_choice, say
from rosetta_lab.files import atomic_write
from rosetta_lab.functional.agreement import Normalization
from rosetta_lab.invert.latent_files import metadata
from rosetta_lab.invert.logged import loss_listener
from rosetta_lab.invert.units import own_units, target_units
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.terminal import opening
from rosetta_lab.run.trainer import make_trainer, one_device
from rosetta_lab.run.values import check_kinds


@entry_point("edit")
def main(cfg: DictConfig) -> EditRun:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if cfg.recipe is not None:
        cfg = with_recipe(cfg, HydraConfig.get().overrides.task)
        atomic_write(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg).encode())
        check_kinds("edit", cfg)
    if cfg.normalization is not None:
        check_choice("normalization", cfg.normalization, get_args(Normalization))
    trainer = make_trainer(cfg, folder, bar=False)
    with one_device(trainer) as device, followed(cfg):
        mined = load_mined(cfg.dictionary, device, cfg.trust_sources)
        cfg = filled_in(cfg, mined)
        edits = ", then ".join(cfg.get("edit") or ())
        opening(
            f"Editing images of {mined.dictionary.reference.name}: {edits}, "
            f"{cfg.steps:,} steps{' and as many of the control' if cfg.controls else ''}",
            device,
            folder,
        )
        run = edit_images(cfg, mined, trainer)
    run.save(folder)
    recipe = write_recipe(folder, cfg)
    page = write_edits(folder, run, cfg, mined.dictionary)
    say(edit_table(run))
    say(f"Look at it: {page.resolve()}")
    say(f"Do it again: python -m rosetta_lab.edit recipe={recipe}")
    return run


def edit_images(cfg: DictConfig, mined: Mined, trainer: L.Trainer) -> EditRun:
    """The edit that a config asks for, its controls, and figures of all of them.

    While it goes on, the trainer's loggers get the losses of every arm.
    """
    edit = load_edit(cfg)
    sources, space = load_sources(cfg, mined, space_of(edit))
    edited, kept = chosen_units(cfg, mined)
    posed = partial(pose, cfg, mined, edit, space)

    def optimised(arm: str, editing: Editing) -> EditArm:
        how = {key: cfg[key] for key in ("steps", "lr", "rampup", "rampdown")}
        how["progress"] = cfg.trainer.enable_progress_bar
        listeners = [loss_listener(trainer, cfg.steps, prefix=f"{arm.replace(' ', '_')}/")]
        return run_arm(editing, sources, cfg.frames, listeners, **how)

    how = agreement_of(cfg, edit)
    others = target_units(cfg, mined, kept, how)
    editing = posed(target_units(cfg, mined, edited, how), others)
    before = own_images(editing, sources)
    looked_at = sources.pictures if cfg.origin == "models" else None
    run = EditRun(edit, sources, before, before if looked_at is None else looked_at)
    run.notes = metadata(mined.generator, space)
    run.arms["rosetta"] = optimised("rosetta", editing)
    run.maps = example_maps(editing, sources, run.arms["rosetta"])
    if cfg.controls:
        alike = posed(*control(cfg, mined, edited, kept, how))
        run.arms["random units"] = optimised("random units", alike)
        own = posed(own_units(mined, reference_units(edited)))
        run.arms["activations"] = direct_arm(own, sources)
    if cfg.concepts is not None or cfg.neurons is not None:
        add_selectivity(cfg, mined, run, editing)
    run.measure(mined.classifier(cfg.classifier))
    return run


if __name__ == "__main__":
    main()
