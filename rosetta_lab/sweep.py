"""What happens around the jobs of a sweep: ``hydra.callbacks`` in a configuration."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rosetta_lab.compare import compare_runs
from rosetta_lab.errors import RosettaError

log = logging.getLogger("rosetta_lab")


class CollectSweep(Callback):
    """Compares the runs of a sweep at its end: tables and a page in the sweep's folder."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Finish the job's W&B run, which the next job would otherwise go on with."""
        if "wandb" in sys.modules:
            import wandb

            if wandb.run is not None:
                wandb.finish(exit_code=0 if job_return.status.name == "COMPLETED" else 1)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write what the jobs came to."""
        folder = Path(config.hydra.sweep.dir)
        try:
            compare_runs(folder, [folder])
        except RosettaError as error:  # a sweep of one job, or of failed ones
            log.warning("Nothing to compare in %s: %s", folder, error)
