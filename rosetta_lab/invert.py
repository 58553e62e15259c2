"""Invert images: ``python -m rosetta_lab.invert dictionary=RUN images=FOLDER matches=all``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch.utils.data import DataLoader

from rosetta_lab.config import PACKAGE, entry_point, make_trainer
from rosetta_lab.data.images import BrokenImage, ImageFolder
from rosetta_lab.data.latents import Shard, as_is
from rosetta_lab.dictionary import RosettaDictionary
from rosetta_lab.inverting import Inversion, TargetBatch, TargetBatches
from rosetta_lab.loading import load_generator, load_models
from rosetta_lab.models.base import Generator
from rosetta_lab.modules.inversion import InversionModule, Inverted
from rosetta_lab.report.inversions import log_curves, summary_table, write_inversions, write_table
from rosetta_lab.results import Judge, Results
from rosetta_lab.rosetta_units import RosettaUnits, matched_pairs

log = logging.getLogger("rosetta_lab")
EMBEDDED = PACKAGE / "zoo" / "dictionary"


@entry_point("invert")
def main(cfg: DictConfig) -> list[dict[str, Any]] | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)  # the module's own bar counts steps
    folder = Path(trainer.strategy.broadcast(folder))  # every process writes into the first one's
    dictionary, generator, inversion = load_inversion(cfg, trainer.strategy.root_device)
    judge = load_judge(cfg, trainer.strategy.root_device)
    targets = load_targets(cfg, generator)

    results = Results(folder)
    if trainer.is_global_zero:
        results.clean()
    batches = TargetBatches(targets, cfg.batch_size)
    batches.batches = [
        batch for batch in batches.batches if not all(map(results.done, batches.ids(batch)))
    ]
    module = RecordedInversion(
        inversion,
        judge,
        results,
        steps=cfg.steps,
        lr=cfg.lr,
        rampup=cfg.rampup,
        rampdown=cfg.rampdown,
        progress=cfg.trainer.enable_progress_bar and trainer.is_global_zero,
    )
    trainer.predict(module, SharedOut(batches), return_predictions=False)
    trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return None
    return finish(cfg, folder, dictionary, targets, results, trainer)


def load_inversion(
    cfg: DictConfig, device: torch.device
) -> tuple[RosettaDictionary, Generator, Inversion]:
    """Dictionary, generator and what poses the problems, as a run's config asks for them."""
    source = EMBEDDED if cfg.dictionary == "embedded" else Path(cfg.dictionary)
    dictionary = RosettaDictionary.load(source)
    mined: Any = OmegaConf.create(dictionary.config)
    generator = load_generator(mined.gen, mined.seed).to(device)
    pairs = matched_pairs(
        dictionary,
        *(plain(cfg[key]) for key in ("matches", "pool", "concepts", "neurons", "layers")),
    )
    wanted = {name: entry for name, entry in mined.disc.items() if name in pairs}
    models = load_models(wanted, mined.seed)
    units = RosettaUnits(dictionary, source, models, pairs, cfg.normalization) if pairs else None
    classifier = None
    if generator.num_classes and cfg.classifier in mined.disc:
        name = cfg.classifier
        classifier = models.get(name) or load_models({name: mined.disc[name]}, mined.seed)[name]
    inversion = Inversion(
        generator,
        None if units is None else units.to(device),
        instantiate(cfg.perceptual).to(device) if cfg.loss.perceptual else None,
        {**cfg.loss, "activation": cfg.loss.activation if pairs else 0.0},
        space=cfg.space,
        start=cfg.start,
        psi=cfg.psi,
        label=cfg.label,
        classifier=None if classifier is None else classifier.to(device),
        optimize_class=cfg.optimize_class,
        seed=cfg.seed,
        distribution=mined.gen.latent,
    )
    return dictionary, generator, inversion


def load_judge(cfg: DictConfig, device: torch.device) -> Judge:
    """The figures that a run's config asks for."""
    return Judge({name: instantiate(entry).to(device) for name, entry in cfg.judges.items()})


def load_targets(cfg: DictConfig, generator: Generator) -> Any:
    """The images that a run's config asks for, at the generator's resolution."""
    if cfg.images is not None:
        return ImageFolder(cfg.images, generator.resolution)
    return instantiate(cfg.data, size=generator.resolution)


class SharedOut(L.LightningDataModule):
    """Batches of targets, shared out over the processes."""

    def __init__(self, batches: TargetBatches) -> None:
        super().__init__()
        self.batches = batches

    def predict_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        shard = Shard(len(self.batches), self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(self.batches, batch_size=None, sampler=shard, collate_fn=as_is)


class RecordedInversion(InversionModule):
    """Writes every image's result as soon as it is there."""

    def __init__(self, inversion: Inversion, judge: Judge, results: Results, **how: Any) -> None:
        super().__init__(inversion, **how)
        self.judge, self.results = judge, results

    def predict_step(self, batch: TargetBatch, batch_idx: int = 0) -> Inverted | None:  # type: ignore[override]
        if not batch.ids:  # every file of the batch was broken
            return None
        inverted = super().predict_step(batch)
        figures = self.judge(inverted.images, batch.images.to(inverted.images), batch.truth)
        self.results.write(batch, inverted, figures)
        return inverted


def finish(
    cfg: DictConfig,
    folder: Path,
    dictionary: RosettaDictionary,
    targets: Any,
    results: Results,
    trainer: L.Trainer,
) -> list[dict[str, Any]]:
    """Table, page and loggers; exits with code 1 where an image could not be read."""
    records = list(results.records(targets.ids))
    if records:
        write_table(folder / "results.csv", records)
        page = write_inversions(folder, results, records, cfg, dictionary)
        log_curves(trainer.loggers, results, records)
        print(summary_table(records))
        print(f"Look at it: {page.resolve()}")
    missing = [name for name in targets.ids if not results.done(name)]
    for name in missing:
        log.error("%s: %s", name, reason(targets, name))
    if missing:
        log.error("%d of %d images could not be inverted.", len(missing), len(targets.ids))
        sys.exit(1)
    return records


def reason(targets: Any, name: str) -> str:
    """Why an image has no result."""
    try:
        targets[targets.ids.index(name)]
    except BrokenImage as error:
        return error.reason
    return "not done"


def plain(value: Any) -> Any:
    """A config's value as Python's own."""
    return OmegaConf.to_container(value) if isinstance(value, ListConfig) else value


if __name__ == "__main__":
    main()
