"""A run of inversions: images shared out over processes, results written as they come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from rosetta_lab.data.latents import Shard, as_is
from rosetta_lab.invert.judge import Judge
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.latent_files import metadata
from rosetta_lab.invert.module import InversionModule
from rosetta_lab.invert.optimise import Inverted
from rosetta_lab.invert.pivotal_tuning import TUNED, pivotal_tuning
from rosetta_lab.invert.problem import Inversion, TargetBatch, TargetBatches
from rosetta_lab.invert.results import TUNED_IMAGE, Results
from rosetta_lab.run.record import adopt_record


class SharedOut(L.LightningDataModule):
    """Batches of targets, shared out over the processes; those that are done are left out.

    Args:
        targets: see :mod:`rosetta_lab.data.images`; with ``ids``.
        batch_size: of a process, at most: with few targets every process has some.
        results: which go to the folder of the first process from :meth:`setup` on.
        settings: of the run, see :meth:`Results.claim`.
    """

    def __init__(self, targets: Any, results: Results, settings: str, batch_size: int) -> None:
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
        if self.trainer.is_global_zero:
            adopt_record(results.folder)
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
    """Writes every image's result as soon as it is there.

    Args:
        inversion: poses the problems.
        judge: of the results.
        results: where they go.
        pti: arguments of :func:`pivotal_tuning`; without ``steps`` there is none.
        how: see :class:`InversionModule`.
    """

    def __init__(
        self,
        inversion: Inversion,
        judge: Judge,
        results: Results,
        pti: Mapping[str, Any],
        **how: Any,
    ) -> None:
        super().__init__(inversion, **how)
        self.inversion, self.judge, self.results, self.pti = inversion, judge, results, pti

    def number(self, batch: TargetBatch, batch_idx: int) -> int:
        return batch.number

    def predict_step(self, batch: TargetBatch, batch_idx: int) -> Inverted | None:
        if all(map(self.results.done, batch.ids)):  # what is left of the batch are broken files
            return None
        inverted = super().predict_step(batch, batch_idx)
        assert inverted is not None
        targets = batch.images.to(inverted.images)
        figures = self.judge(
            inverted.images, targets, batch.truth, inverted.starts, inverted.class_weights
        )
        notes = metadata(self.inversion.generator, self.inversion.space)
        for place, name in enumerate(batch.ids):
            if self.pti["steps"] and not self.results.done(name):
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
        tuned = pivotal_tuning(code, target, inversion.perceptual, **self.pti)
        with torch.no_grad():
            image = tuned.to_unit_range(tuned.synthesize(code(), inversion.psi))
        self.results.add(name, TUNED, tuned.state_dict(), TUNED_IMAGE, image[0])
        figures = self.judge(image, target, [{}], class_weights=c)[0]
        return {f"tuned_{figure}": value for figure, value in figures.items()}
