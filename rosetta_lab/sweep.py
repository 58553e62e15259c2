"""What happens at the end of a sweep: ``hydra.callbacks`` in a configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.compare import compare_runs
from rosetta_lab.errors import RosettaError

log = logging.getLogger("rosetta_lab")


class CollectSweep(Callback):
    """Compares the runs of a sweep at its end: tables and a page in the sweep's folder."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Say how to compare the others when a job failed: Hydra then ends without asking us."""
        if config.hydra.mode is RunMode.MULTIRUN and job_return.status is JobStatus.FAILED:
            log.warning(
                "The sweep goes on. To compare the other runs when it has ended:\n"
                "python -m rosetta_lab.compare runs=[%s]",
                config.hydra.sweep.dir,
            )

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write what the jobs came to."""
        folder = Path(config.hydra.sweep.dir)
        found = config.get("reference")
        reference: Any = OmegaConf.to_container(found) if found else None
        try:
            compare_runs(folder, [folder], reference=reference)
        except RosettaError as error:  # a sweep of one job, or of failed ones
            log.warning("Nothing to compare in %s: %s", folder, error)
