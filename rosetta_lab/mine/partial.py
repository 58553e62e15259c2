"""Unfinished sums on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import check_tensors, save_tensors
from rosetta_lab.metrics.statistics import SumMetric

log = logging.getLogger("rosetta_lab")
SHIFT = "shift/"


class PartialSums:
    """Files of one process with its sums, the shifts that they were taken with and the number of
    its images behind them: the newest and the one before, which stands in where that is damaged.

    The shifts are means of a pilot run, or samples from it that ranks are taken in. That of the
    interrupted run may differ in the last bits (by another number of threads, say), and sums go on
    only with those that they began with.

    Args:
        folder: belongs to one fingerprint (everything that the sums depend on).
        minutes: between two writes.

    Attributes:
        images: of this process behind the sums, as far as :meth:`find` and :meth:`advance` know.
    """

    def __init__(self, folder: Path, minutes: float = 5.0) -> None:
        self.folder, self.seconds = folder, minutes * 60.0
        self.images = 0
        self._newest = self._found = folder
        self._written = time.monotonic()

    def find(self, rank: int, world: int) -> dict[str, Tensor]:
        """Look for sums of this process, and use these files from now on.

        Args:
            rank: number of this process.
            world: how many there are.

        Returns:
            The shifts by model, none where there are no sums.
        """
        self._newest = self.folder / f"rank-{rank}-of-{world}.safetensors"
        self.images, shifts = 0, {}

        def use(name: str, tensor: Tensor) -> None:
            if name.startswith(SHIFT):
                shifts[name.removeprefix(SHIFT)] = tensor

        for path in (self._newest, self._before()):
            if not path.exists():
                continue
            try:
                self.images = int(check_tensors(path, use, ours=True)["images"])
                self._found = path
                return shifts
            except (RosettaError, LookupError, ValueError) as error:
                log.warning("Unfinished sums are passed over. %s", error)
                shifts.clear()
                with suppress(OSError):  # what lies there may be anything
                    path.unlink()
        return {}

    def _before(self) -> Path:
        return self._newest.with_suffix(".before.safetensors")

    def load(self, metrics: Mapping[str, SumMetric]) -> None:
        """Fill fresh metrics, by name, with the sums that were found, if any were."""
        if self.images:
            with safe_open(self._found, "pt") as stream:
                for name, metric in metrics.items():
                    metric.load_sums({s: stream.get_tensor(f"{name}/{s}") for s in metric.sums()})

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= self.seconds

    def advance(
        self,
        images: int,
        metrics: Mapping[str, SumMetric],
        shifts: Mapping[str, Tensor],
        due: bool,
    ) -> None:
        """Count the images of a finished batch; write the sums when it is time.

        Args:
            images: in the batch.
            metrics: by name.
            shifts: by model.
            due: whether it is.
        """
        self.images += images
        if not due:
            return
        tensors = {
            f"{name}/{key}": value
            for name, metric in metrics.items()
            for key, value in metric.sums().items()
        } | {f"{SHIFT}{name}": shift for name, shift in shifts.items()}
        with suppress(OSError):  # there is none yet
            self._newest.replace(self._before())
        try:
            save_tensors(self._newest, tensors, {"images": str(self.images)})
        except RosettaError as error:
            log.warning("Were this run interrupted now, it would repeat what it did. %s", error)
        self._written = time.monotonic()

    def remove(self) -> None:
        """The run is finished: forget its partial sums."""
        shutil.rmtree(self.folder, ignore_errors=True)
