"""The W&B logger: everything that a run logs stays in its folder, every job is its own run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig


def wandb_logger(
    save_dir: str, name: str | None = None, group: str | None = None, **how: Any
) -> WandbLogger:
    """A logger of one run.

    W&B keeps the pictures of an offline run's tables in a staging folder of the user, where they
    are lost when the run's folder is copied away; here that folder lies in the run's.

    Args:
        save_dir: the run folder.
        name: of the run; None for what the command line of a sweep's job chose.
        group: of the run; None for the name of the sweep's folder.
        **how: see :class:`lightning.pytorch.loggers.WandbLogger`.
    """
    staging = Path(save_dir).resolve() / "wandb"
    staging.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DATA_DIR"] = str(staging)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        hydra = HydraConfig.get()
        name = name or hydra.job.override_dirname or None
        group = group or Path(hydra.sweep.dir).name
    return WandbLogger(save_dir=save_dir, name=name, group=group, **how)


class FinishRun(Callback):
    """Finishes a job's W&B run, which the next job of a sweep would otherwise go on with."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Finish the open run, if there is one."""
        if "wandb" in sys.modules:
            import wandb

            if wandb.run is not None:
                wandb.finish(exit_code=0 if job_return.status is JobStatus.COMPLETED else 1)
