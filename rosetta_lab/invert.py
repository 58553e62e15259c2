"""Invert images: ``python -m rosetta_lab.invert dictionary=RUN images=FOLDER matches=all``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, get_args

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
from rosetta_lab.errors import RosettaError, check_choice, check_count
from rosetta_lab.functional.agreement import Normalization
from rosetta_lab.inverting import Inversion, TargetBatch, TargetBatches
from rosetta_lab.latent_code import LatentCode
from rosetta_lab.latent_files import metadata
from rosetta_lab.mined import Mined, load_mined
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.modules.inversion import InversionModule, Inverted
from rosetta_lab.pivotal_tuning import TUNED, pivotal_tuning
from rosetta_lab.report.figures import objective
from rosetta_lab.report.inversions import summary_table, write_inversions, write_table
from rosetta_lab.report.logged import log_curves
from rosetta_lab.results import DIVERGED, TUNED_IMAGE, Judge, Results
from rosetta_lab.rosetta_units import RosettaUnits, matched_pairs

log = logging.getLogger("rosetta_lab")
WATCHING = ("logger", "trainer", "experiments", "resume")  # config that says nothing of the result


@entry_point("invert")
def main(cfg: DictConfig) -> float | None:
    check_count("steps", cfg.steps)
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)  # the module's own bar counts steps
    mined = load_mined(cfg.dictionary, trainer.strategy.root_device)
    inversion = load_inversion(cfg, mined)
    targets = load_targets(cfg, mined.generator)
    results = Results(folder)
    data = SharedOut(targets, cfg.batch_size, results, settings(cfg))
    module = RecordedInversion(
        inversion,
        load_judge(cfg, inversion.classifier, mined.device),
        results,
        cfg.pti,
        steps=cfg.steps,
        lr=cfg.lr,
        rampup=cfg.rampup,
        rampdown=cfg.rampdown,
        progress=cfg.trainer.enable_progress_bar and trainer.is_global_zero,
    )
    trainer.predict(module, data, return_predictions=False)
    trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return None
    records = finish(cfg, folder, mined.dictionary, targets, results, trainer)
    return objective(records, cfg.objective)


def load_inversion(cfg: DictConfig, mined: Mined) -> Inversion:
    """What poses the problems, as a run's config asks for it.

    What the config leaves to the mining run is filled in.
    """
    mined.fill_in(cfg)
    check_choice("normalization", cfg.normalization, get_args(Normalization))
    pairs = matched_pairs(
        mined.dictionary,
        *(plain(cfg[key]) for key in ("matches", "pool", "concepts", "neurons", "layers", "k")),
    )
    models = mined.models(pairs)
    units = None
    if pairs:
        units = RosettaUnits(mined.dictionary, mined.folder, models, pairs, cfg.normalization)
    perceptual = instantiate(cfg.perceptual).to(mined.device) if cfg.loss.perceptual else None
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
        distribution=mined.latent,
    )


def load_judge(
    cfg: DictConfig, classifier: DiscriminativeModel | None, device: torch.device
) -> Judge:
    """The figures that a run's config asks for."""
    return Judge([instantiate(entry).to(device) for entry in cfg.judges.values()], classifier)


def settings(cfg: DictConfig) -> str:
    """What the results depend on."""
    asked = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in WATCHING])
    return OmegaConf.to_yaml(asked, resolve=True)


def load_targets(cfg: DictConfig, generator: Generator) -> Any:
    """The images that a run's config asks for, at the generator's resolution.

    Raises:
        RosettaError: there are none, or it is not said where they are.
    """
    if cfg.images is not None:
        return ImageFolder(cfg.images, generator.resolution)
    if missing := sorted(OmegaConf.missing_keys(cfg.data)):
        raise RosettaError(
            f"data.{missing[0]} is not given.\n"
            f"Name images=FILE or FOLDER, or data.{missing[0]}=... (see conf/data)."
        )
    return instantiate(cfg.data, size=generator.resolution)


class SharedOut(L.LightningDataModule):
    """Batches of targets, shared out over the processes; those that are done are left out.

    Args:
        targets: see :mod:`rosetta_lab.data.images`; with ``ids``.
        batch_size: of a process, at most: with few targets every process has some.
        results: which go to the folder of the first process from :meth:`setup` on.
        settings: what the results depend on.
    """

    def __init__(self, targets: Any, batch_size: int, results: Results, settings: str) -> None:
        super().__init__()
        self.batches = TargetBatches(targets, batch_size)
        self.results, self.settings = results, settings

    def setup(self, stage: str) -> None:
        """Agree on a folder: only now can processes talk to each other, whoever started them."""
        assert self.trainer is not None
        results, processes = self.results, self.trainer.world_size
        results.folder = Path(self.trainer.strategy.broadcast(results.folder))
        if self.trainer.is_global_zero:
            results.clean()
        results.claim(self.settings)  # all of them, so that all stop where one does
        self.trainer.strategy.barrier()
        targets, batch_size = self.batches.targets, self.batches.batch_size
        batches = TargetBatches(targets, min(batch_size, -(-len(targets) // processes)))
        batches.batches = [
            batch for batch in batches.batches if not all(map(results.done, batches.ids(batch)))
        ]
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
        if all(map(self.results.done, batch.ids)):  # what is left of the batch are broken files
            return None
        inverted = super().predict_step(batch)
        targets = batch.images.to(inverted.images)
        figures = self.judge(
            inverted.images, targets, batch.truth, inverted.starts, inverted.class_weights
        )
        notes = metadata(self.inversion.generator, self.inversion.space)
        for place, name in enumerate(batch.ids):
            if self.pti.steps and not self.results.done(name):
                figures[place] |= self.tune(inverted, place, name, targets[place, None])
            self.results.write(batch, inverted, figures, [place], notes)
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
        figures = self.judge(image, target, [{}], class_weights=c)[0]
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
        RosettaError: images have no result; the others are written.
    """
    records = list(results.records(targets.ids))
    missing = {name: reason(targets, name) for name in targets.ids if not results.done(name)}
    if records:
        write_table(folder / "results.csv", records)
        page = write_inversions(folder, results, records, cfg, dictionary, missing)
        log_curves(trainer.loggers, results, records)
        print(summary_table(records, missing))
        print(f"Look at it: {page.resolve()}")
    for name, why in missing.items():
        log.error("%s: %s", name, why)
    if missing:
        raise RosettaError(f"{len(missing)} of {len(targets.ids)} images could not be inverted.")
    return records


def reason(targets: Any, name: str) -> str:
    """Why an image has no result."""
    try:
        targets[targets.ids.index(name)]
    except BrokenImage as error:
        return error.reason
    return DIVERGED


if __name__ == "__main__":
    main()
