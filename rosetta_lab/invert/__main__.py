"""Invert images: ``python -m rosetta_lab.invert dictionary=RUN images=FOLDER matches=all``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from rosetta_lab.data.images import BrokenImage
from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.invert.figures import objective
from rosetta_lab.invert.logged import log_curves
from rosetta_lab.invert.page.index import write_inversions
from rosetta_lab.invert.results import Results
from rosetta_lab.invert.run import RecordedInversion, SharedOut
from rosetta_lab.invert.setup import load_inversion, load_judge, settings
from rosetta_lab.invert.tables import figures_table, write_table
from rosetta_lab.models.images import load_targets
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.terminal import opening
from rosetta_lab.run.trainer import make_trainer

log = logging.getLogger("rosetta_lab")


@entry_point("invert")
def main(cfg: DictConfig) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)  # the module's own bar counts steps
    mined = load_mined(cfg.dictionary, trainer.strategy.root_device, cfg.trust_sources)
    cfg = mined.filled_in(cfg)
    inversion = load_inversion(cfg, mined)
    cfg.start = inversion.start
    targets = load_targets(cfg, mined.generator.resolution)
    results = Results(folder)
    data: SharedOut = instantiate(cfg.datamodule)(targets, results, settings(cfg))
    judge = load_judge(cfg, inversion.classifier, mined.device)
    module: RecordedInversion = instantiate(cfg.module)(inversion, judge, results)
    opening(
        f"Inverting {len(targets):,} images through {mined.dictionary.reference.name}: "
        f"matches={cfg.matches}, {cfg.steps:,} steps, {cfg.batch_size} images at a time",
        mined.device,
        folder,
    )
    trainer.predict(module, data, return_predictions=False)
    trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return None
    records = finish(cfg, folder, mined.dictionary, targets, results, trainer)
    return objective(records, cfg.objective)


def finish(
    cfg: DictConfig,
    folder: Path,
    dictionary: RosettaDictionary,
    targets: Any,
    results: Results,
    trainer: L.Trainer,
) -> list[dict[str, Any]]:
    """Table, page and loggers.

    Raises:
        RosettaError: images have no result; the others are written.
    """
    records = list(results.records(targets.ids))
    left = [name for name in targets.ids if not results.done(name)]
    missing = {name: reason(targets, results, name) for name in left}
    if records:
        write_table(folder / "results.csv", records)
        page = write_inversions(folder, results, records, cfg, dictionary, missing)
        log_curves(trainer.loggers, results, records)
        say(figures_table(records, missing))
        say(f"Look at it: {page.resolve()}")
    for name, why in missing.items():
        log.error("%s: %s", name, why)
    if missing:
        raise RosettaError(f"{len(missing)} of {len(targets.ids)} images could not be inverted.")
    return records


def reason(targets: Any, results: Results, name: str) -> str:
    """Why an image has no result."""
    try:
        targets[targets.ids.index(name)]
    except BrokenImage as error:
        return error.reason
    return results.failure(name)


if __name__ == "__main__":
    main()
