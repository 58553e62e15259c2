"""The W&B logger: everything that a run logs stays in its folder, every job is its own run."""

from __future__ import annotations

import netrc
import os
import re
import secrets
import sys
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.files import atomic_write
from rosetta_lab.run.command_line import parse
from rosetta_lab.run.foreign import read_text

ID = re.compile("[0-9a-z]{1,64}")  # of a W&B run
LONGEST_NAME = 128  # characters that W&B's server accepts
FORMER_HOST = "api.wandb.ai"  # keys for it stay valid


def wandb_offline() -> bool:
    """Whether W&B has to stay offline: it was told to, or there is no login."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode in ("offline", "dryrun")
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return False
    import wandb  # takes a second, and only this logger needs it

    hosts = {urlsplit(wandb.setup().settings.base_url).netloc, FORMER_HOST}
    try:  # where `wandb login` keeps the key
        return hosts.isdisjoint(netrc.netrc(os.environ.get("NETRC")).hosts)
    except (OSError, netrc.NetrcParseError):
        return True


class TableLogger(CSVLogger):
    """Lightning's CSV logger, which deletes the table of the run that it goes on with; ours does
    not: it becomes ``metrics_1.csv``, the next one ``metrics_2.csv``."""

    @property
    def experiment(self) -> Any:
        """Lightning's writer."""
        if self._experiment is None:
            self._set_aside(Path(self.log_dir) / _ExperimentWriter.NAME_METRICS_FILE)
        return super().experiment

    @rank_zero_only
    def _set_aside(self, table: Path) -> None:
        if table.is_file():
            names = (table.with_stem(f"{table.stem}_{number}") for number in count(1))
            table.rename(next(name for name in names if not name.exists()))


def wandb_logger(
    save_dir: str, name: str | None = None, group: str | None = None, **how: Any
) -> WandbLogger:
    """A logger of one run.

    W&B keeps the pictures of an offline run's tables in a staging folder of the user, where they
    are lost when the run's folder is copied away; here that folder lies in the run's.

    Args:
        save_dir: the run folder.
        name: of the run; None for the values that a sweep chose for its job.
        group: of the run; None for the name of the sweep's folder.
        **how: see :class:`lightning.pytorch.loggers.WandbLogger`.
    """
    staging = Path(save_dir).resolve() / "wandb"
    staging.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DATA_DIR"] = str(staging)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        hydra = HydraConfig.get()
        name = name or swept(hydra) or hydra.job.override_dirname or None
        group = group or Path(hydra.sweep.dir).name
    name = name and name[:LONGEST_NAME]
    if how.get("offline"):  # W&B has read the environment already, and would ask for a login
        how = {"mode": "offline", **how}
    return WandbLogger(save_dir=save_dir, name=name, group=group, id=run_id(staging), **how)


def swept(hydra: Any) -> str:
    """What a sweep chose for this job, such as ``matches=all,alpha=0.1``."""
    params = hydra.sweeper.get("params") or {}
    asked = parse([*sys.argv[1:], *(f"{key}={value}" for key, value in params.items())])
    keys = {override.get_key_element() for override in asked if override.is_sweep_override()}
    chosen = parse(list(hydra.overrides.task))
    return ",".join(str(o.input_line) for o in chosen if o.get_key_element() in keys)


def run_id(folder: Path) -> str:
    """The id of a run folder's W&B run, always the same: a resumed run goes on with its own."""
    note = folder / "run_id.txt"
    if note.is_file() and not note.is_symlink():
        known = read_text(note)
        if ID.fullmatch(known):
            return known
    atomic_write(note, secrets.token_hex(4).encode())
    return read_text(note)


class FinishRun(Callback):
    """Finishes a job's W&B run, which the next job of a sweep would otherwise go on with."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Finish the open run, if there is one."""
        if "wandb" in sys.modules:
            import wandb

            if wandb.run is not None:
                wandb.finish(exit_code=0 if job_return.status is JobStatus.COMPLETED else 1)


OmegaConf.register_new_resolver("wandb_offline", wandb_offline, replace=True)
