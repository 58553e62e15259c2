"""Unfinished sums on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import safe_open

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import check_tensors, save_tensors
from rosetta_lab.metrics.activations import UnitGroups
from rosetta_lab.metrics.statistics import SumMetric

log = logging.getLogger("rosetta_lab")


class PartialSums:
    """One file per process with its sums, the shifts that they were taken with and the number of
    its images behind them.

    The shifts are means of a pilot run. That of the interrupted run may differ in the last bits (by
    another number of threads, say), and sums go on only with the shifts that they began with.

    Args:
        folder: belongs to one fingerprint (everything that the sums depend on).
        minutes: between two writes.
    """

    def __init__(self, folder: Path, minutes: float = 5.0) -> None:
        self.folder, self.seconds = folder, minutes * 60.0
        self._images = 0
        self._written = time.monotonic()

    def _file(self, rank: int, world: int) -> Path:
        return self.folder / f"rank-{rank}-of-{world}.safetensors"

    def done(self, rank: int, world: int) -> int:
        """Images of this process that are summed up already."""
        path = self._file(rank, world)
        if not path.exists():
            return 0
        try:
            return int(check_tensors(path, ours=True)["images"])
        except (RosettaError, LookupError, ValueError) as error:
            log.warning("Beginning anew. %s", error)
            with suppress(OSError):  # what lies there may be anything
                path.unlink()
            return 0

    def load(
        self,
        metrics: Mapping[str, SumMetric],
        groups: Mapping[str, UnitGroups],
        rank: int,
        world: int,
    ) -> int:
        """Fill fresh metrics with the sums on disk, if there are any, and ``groups`` with shifts.

        Args:
            metrics: by name.
            groups: model name to the units that the metrics share.
            rank: number of this process.
            world: how many there are.

        Returns:
            images of this process behind them.
        """
        self._images = self.done(rank, world)
        if self._images:
            with safe_open(self._file(rank, world), "pt") as stream:
                for name, metric in metrics.items():
                    metric.load_sums({s: stream.get_tensor(f"{name}/{s}") for s in metric.sums()})
                for name, units in groups.items():
                    units.shift.copy_(stream.get_tensor(f"shift/{name}"))
        return self._images

    def advance(
        self,
        images: int,
        metrics: Mapping[str, SumMetric],
        groups: Mapping[str, UnitGroups],
        rank: int,
        world: int,
    ) -> None:
        """Count the images of a finished batch; write the sums when it is time.

        Args:
            images: in the batch.
            metrics: as :meth:`load`, and so are the others.
            groups: their units.
            rank: number of this process.
            world: how many there are.
        """
        self._images += images
        if time.monotonic() - self._written < self.seconds:
            return
        tensors = {
            f"{name}/{key}": value
            for name, metric in metrics.items()
            for key, value in metric.sums().items()
        } | {f"shift/{name}": units.shift for name, units in groups.items()}
        try:
            save_tensors(self._file(rank, world), tensors, {"images": str(self._images)})
        except RosettaError as error:
            log.warning("Were this run interrupted now, it would begin anew. %s", error)
        self._written = time.monotonic()

    def remove(self) -> None:
        """The run is finished: forget its partial sums."""
        shutil.rmtree(self.folder, ignore_errors=True)
