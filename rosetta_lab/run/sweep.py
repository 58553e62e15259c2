"""What happens at the end of a sweep: ``hydra.callbacks`` in a configuration."""

from __future__ import annotations

import atexit
import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rosetta_lab.errors import RosettaError

log = logging.getLogger("rosetta_lab")


class AtSweepEnd(Callback, ABC):
    """Brings the runs of a sweep together at its end.

    Where a job failed Hydra ends without telling us, and the others are collected at the exit.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Be sure to be asked."""
        atexit.register(self._end, config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write what the jobs came to."""
        atexit.unregister(self._end)
        self._end(config)

    def _end(self, config: DictConfig) -> None:
        folder = Path(config.hydra.sweep.dir)
        try:
            self.collect(folder, config)
        except RosettaError as error:  # a sweep of one job, or of failed ones
            log.warning("Nothing to compare in %s: %s", folder, error)

    @abstractmethod
    def collect(self, folder: Path, config: DictConfig) -> None:
        """Write what the runs in a sweep's folder came to.

        Raises:
            RosettaError: there is nothing to write.
        """
