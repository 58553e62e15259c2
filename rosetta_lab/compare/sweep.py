"""What happens at the end of a sweep: ``hydra.callbacks`` in a configuration."""

from __future__ import annotations

import atexit
import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.compare.report import compare_runs
from rosetta_lab.errors import RosettaError

log = logging.getLogger("rosetta_lab")


class CollectSweep(Callback):
    """Compares the runs of a sweep at its end: tables and a page in the sweep's folder.

    Where a job failed Hydra ends without telling us, and the others are compared at the exit.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Be sure to be asked."""
        atexit.register(self.collect, config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write what the jobs came to."""
        atexit.unregister(self.collect)
        self.collect(config)

    def collect(self, config: DictConfig) -> None:
        """Compare the runs that have results."""
        folder = Path(config.hydra.sweep.dir)
        found = config.get("reference")
        reference: Any = OmegaConf.to_container(found) if found else None
        try:
            compare_runs(folder, [folder], reference=reference)
        except RosettaError as error:  # a sweep of one job, or of failed ones
            log.warning("Nothing to compare in %s: %s", folder, error)
