"""Invert images: ``python -m rosetta_lab.invert dictionary=RUN images=FOLDER matches=all``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader

from rosetta_lab.config import entry_point, make_trainer, plain
from rosetta_lab.data.images import BrokenImage, ImageFolder
from rosetta_lab.data.latents import Shard, as_is
from rosetta_lab.dictionary import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.inverting import Inversion, TargetBatch, TargetBatches
from rosetta_lab.latent_code import LatentCode
from rosetta_lab.mined import Mined, load_mined
from rosetta_lab.models.base import Generator
from rosetta_lab.modules.inversion import InversionModule, Inverted
from rosetta_lab.pivotal_tuning import TUNED, pivotal_tuning
from rosetta_lab.report.figures import objective
from rosetta_lab.report.inversions import summary_table, write_inversions, write_table
from rosetta_lab.report.logged import log_curves
from rosetta_lab.results import TUNED_IMAGE, Judge, Results
from rosetta_lab.rosetta_units import RosettaUnits, matched_pairs

log = logging.getLogger("rosetta_lab")
WATCHING = ("logger", "trainer", "experiments", "resume")  # config that says nothing of the result


@entry_point("invert")
def main(cfg: DictConfig) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)  # the module's own bar counts steps
    folder = Path(trainer.strategy.broadcast(folder))  # every process writes into the first one's
    mined = load_mined(cfg.dictionary, trainer.strategy.root_device)
    inversion = load_inversion(cfg, mined)
    judge = load_judge(cfg, mined.device)
    targets = load_targets(cfg, mined.generator)

    results = Results(folder)
    if trainer.is_global_zero:
        results.clean()
        asked = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in WATCHING])
        results.claim(OmegaConf.to_yaml(asked, resolve=True))
    batches = TargetBatches(targets, cfg.batch_size)
    batches.batches = [
        batch for batch in batches.batches if not all(map(results.done, batches.ids(batch)))
    ]
    module = RecordedInversion(
        inversion,
        judge,
        results,
        cfg.pti,
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
    records = finish(cfg, folder, mined.dictionary, targets, results, trainer)
    return objective(records, cfg.objective)


def load_inversion(cfg: DictConfig, mined: Mined) -> Inversion:
    """What poses the problems, as a run's config asks for it."""
    pairs = matched_pairs(
        mined.dictionary,
        *(plain(cfg[key]) for key in ("matches", "pool", "concepts", "neurons", "layers", "k")),
    )
    models = mined.models(pairs)
    units = None
    if pairs:
        units = RosettaUnits(mined.dictionary, mined.folder, models, pairs, cfg.normalization)
    classifier = None
    if mined.generator.num_classes and cfg.classifier is not None:
        classifier = models.get(cfg.classifier) or mined.models([cfg.classifier])[cfg.classifier]
    perceptual = instantiate(cfg.perceptual).to(mined.device) if cfg.loss.perceptual else None
    return Inversion(
        mined.generator,
        None if units is None else units.to(mined.device),
        perceptual,
        {**cfg.loss, "activation": cfg.loss.activation if pairs else 0.0},
        space=cfg.space,
        start=cfg.start,
        psi=cfg.psi,
        label=cfg.label,
        classifier=classifier,
        optimize_class=cfg.optimize_class,
        seed=cfg.seed,
        distribution=mined.config.gen.latent,
    )


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

    def __init__(
        self, inversion: Inversion, judge: Judge, results: Results, pti: DictConfig, **how: Any
    ) -> None:
        super().__init__(inversion, **how)
        self.inversion, self.judge, self.results, self.pti = inversion, judge, results, pti

    def predict_step(self, batch: TargetBatch, batch_idx: int = 0) -> Inverted | None:  # type: ignore[override]
        if not batch.ids:  # every file of the batch was broken
            return None
        inverted = super().predict_step(batch)
        targets = batch.images.to(inverted.images)
        figures = self.judge(inverted.images, targets, batch.truth, inverted.starts)
        if self.pti.steps:
            for place, name in enumerate(batch.ids):
                if not self.results.done(name):
                    figures[place] |= self.tune(inverted, place, name, targets[place, None])
        self.results.write(batch, inverted, figures)
        return inverted

    @torch.inference_mode(False)
    @torch.enable_grad()
    def tune(self, inverted: Inverted, place: int, name: str, target: Tensor) -> dict[str, float]:
        """Tune the generator for one image, and say what that brought."""
        one = slice(place, place + 1)
        c = None if inverted.class_weights is None else inverted.class_weights[one].clone()
        inversion, latent = self.inversion, inverted.latent[one].clone()
        code = LatentCode(inversion.generator, inversion.space, latent, c, inversion.psi)
        tuned = pivotal_tuning(
            code, target, inversion.perceptual, **{str(k): v for k, v in self.pti.items()}
        )
        with torch.no_grad():
            image = tuned.to_unit_range(tuned.synthesize(code(), inversion.psi))
        self.results.add(name, TUNED, tuned.state_dict(), TUNED_IMAGE, image[0])
        figures = self.judge(image, target, [{}])[0]
        return {f"tuned_{figure}": value for figure, value in figures.items()}


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
        RosettaError: an image could not be read; the others are written.
    """
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
        raise RosettaError(f"{len(missing)} of {len(targets.ids)} images could not be inverted.")
    return records


def reason(targets: Any, name: str) -> str:
    """Why an image has no result."""
    try:
        targets[targets.ids.index(name)]
    except BrokenImage as error:
        return error.reason
    return "not done"


if __name__ == "__main__":
    main()
