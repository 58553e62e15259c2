"""Hydra set-up that all entry points share."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    CompactHydraException,
    InstantiationException,
)
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.command_line import check_keys, check_members, resumed_arguments, zoo_arguments
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE, asset_root
from rosetta_lab.precision import set_matmul_precision
from rosetta_lab.wandb_logger import wandb_offline


def run_folder(command: str, resume: str | None) -> str:
    """Where a run writes: ``outputs/<command>/<date>_<time>``, or the folder that it resumes.

    Processes that torchrun or SLURM started beside the first write nothing; their folder is a
    temporary one, so that a run with many processes leaves one run folder.
    """
    if resume:
        return str(resume)
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) > 0:
        return tempfile.mkdtemp(prefix="rosetta_lab_")
    return f"outputs/{command}/{datetime.now():%Y-%m-%d_%H-%M-%S}"


def plain(value: Any) -> Any:
    """A config, or a value of one, as Python's own, interpolations resolved."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


OmegaConf.register_new_resolver("rosetta_run_dir", run_folder, use_cache=True, replace=True)
OmegaConf.register_new_resolver("wandb_offline", wandb_offline, replace=True)
OmegaConf.register_new_resolver("rosetta_root", lambda: str(asset_root()), replace=True)
OmegaConf.register_new_resolver("rosetta_package", lambda: str(PACKAGE), replace=True)


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Decorator: a Hydra main that reads ``conf/<config_name>.yaml``.

    A :class:`RosettaError` is printed as it is, without a traceback, and the process exits with
    code 1, a sweep after its other jobs; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def guarded(cfg: DictConfig) -> Any:
            quiet()
            try:
                return main(cfg)
            except (RosettaError, InstantiationException) as error:
                # Hydra wraps what a constructor raises.
                mistake = error if isinstance(error, RosettaError) else error.__cause__
                if not isinstance(mistake, RosettaError) or os.environ.get("HYDRA_FULL_ERROR"):
                    raise
                logging.getLogger("rosetta_lab").error("%s", mistake)
                if HydraConfig.get().mode is RunMode.MULTIRUN:
                    # Hydra runs the jobs that are left, then fails.
                    raise CompactHydraException(str(mistake)) from error
                sys.exit(1)

        run = hydra.main(
            version_base="1.3", config_path=str(asset_root() / "conf"), config_name=config_name
        )(guarded)

        @functools.wraps(main)
        def start() -> None:
            try:
                sys.argv[1:] = zoo_arguments(config_name, resumed_arguments(sys.argv[1:]))
                check_members(sys.argv[1:])
                check_keys(config_name, sys.argv[1:])
            except RosettaError as error:
                sys.exit(str(error))
            # Lightning only takes note of it and finishes the batch, which may take hours.
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
            run()

        return start

    return decorate


def quiet() -> None:
    """Let only our own messages, and other libraries' warnings, through."""
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("rosetta_lab").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # ours make data in place


def make_trainer(cfg: DictConfig, folder: Path, *, bar: bool = True) -> L.Trainer:
    """The Lightning trainer of a run: its loggers, a progress bar, nothing that writes elsewhere.

    Args:
        cfg: with ``trainer`` (arguments of ``lightning.Trainer``), ``logger`` (by name), and
            ``matmul_precision`` unless it is the highest.
        folder: the run folder.
        bar: show Lightning's progress bar, unless the config turns it off.

    Raises:
        RosettaError: the accelerator is an Apple GPU.
    """
    accelerator, apple = cfg.trainer.get("accelerator", "auto"), MPSAccelerator.is_available()
    if accelerator == "mps" or (accelerator == "gpu" and apple):
        raise RosettaError(
            f"trainer.accelerator={accelerator}: expected cpu or cuda; Apple GPUs lack the float64 "
            "that sums over images need.\nUse trainer.accelerator=cpu."
        )
    set_matmul_precision(cfg.get("matmul_precision", "highest"))
    loggers = [instantiate(entry) for entry in (cfg.logger or {}).values()]
    for logger in loggers:
        if isinstance(logger, WandbLogger):  # its dashboards group, filter and plot by settings
            logger.log_hyperparams(plain(cfg))
    bar = bar and cfg.trainer.enable_progress_bar
    bars: list[L.Callback] = [TQDMProgressBar(refresh_rate=1)] if bar else []
    return L.Trainer(
        logger=loggers,
        callbacks=bars,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_model_summary=False,
        # Latents are shared out by our own sampler, which never repeats an image.
        use_distributed_sampler=False,
        **{
            **cfg.trainer,
            "accelerator": "cpu" if accelerator == "auto" and apple else accelerator,
            "enable_progress_bar": bar,
        },
    )
