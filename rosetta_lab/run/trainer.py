"""The Lightning trainer of a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)
from omegaconf import DictConfig

from rosetta_lab.errors import RosettaError, check_choice, printable
from rosetta_lab.run.configs import plain
from rosetta_lab.run.precision import set_matmul_precision

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")  # those that leave weights as they are


class Bar(TQDMProgressBar):
    """Lightning's bar; what a module logs for it is shown while it validates, too.

    Validating is what mining is run by: batches of images that models look at.
    """

    @property
    def validation_description(self) -> str:
        return "Batches"

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **how: Any
    ) -> None:
        super().on_validation_batch_end(trainer, pl_module, *args, **how)
        self.val_progress_bar.set_postfix(trainer.progress_bar_metrics)


class EndTogether(L.Callback):
    """Where one process fails that started others, they end too, instead of waiting for it."""

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
            trainer.strategy.launcher.kill(signal.SIGKILL)


def make_trainer(cfg: DictConfig, folder: Path, *, bar: bool = True) -> L.Trainer:
    """The Lightning trainer of a run: its loggers, a progress bar, nothing that writes elsewhere.

    Args:
        cfg: with ``trainer`` (arguments of ``lightning.Trainer``; those with a ``_target_``, such
            as more callbacks, are made), ``logger`` (by name), and ``matmul_precision`` unless it
            is the highest.
        folder: the run folder.
        bar: show Lightning's progress bar, unless the config turns it off.

    Raises:
        RosettaError: the accelerator is an Apple GPU, the precision one of other weights, or the
            processes cannot be started here.
    """
    accelerator, apple = cfg.trainer.get("accelerator", "auto"), MPSAccelerator.is_available()
    if accelerator == "mps" or (accelerator == "gpu" and apple):
        raise RosettaError(
            f"trainer.accelerator={accelerator}: expected cpu or cuda; Apple GPUs lack the float64 "
            "that sums over images need.\nUse trainer.accelerator=cpu."
        )
    set_matmul_precision(cfg.get("matmul_precision", "highest"))
    loggers = [instantiate(entry) for entry in (cfg.get("logger") or {}).values()]
    for logger in loggers:
        if isinstance(logger, WandbLogger):  # its dashboards group, filter and plot by settings
            logger.log_hyperparams(plain(cfg))
    arguments: dict[str, Any] = instantiate(cfg.trainer, _convert_="all")
    bar = bar and arguments["enable_progress_bar"]
    bars: list[L.Callback] = [Bar(refresh_rate=1)] if bar else []
    how = {
        "default_root_dir": folder,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        **arguments,
        "accelerator": "cpu" if accelerator == "auto" and apple else accelerator,
        "enable_progress_bar": bar,
        # Latents are shared out by our own sampler, which never repeats an image.
        "use_distributed_sampler": False,
        "logger": loggers,
        "callbacks": [*bars, EndTogether(), *arguments.get("callbacks", [])],
    }
    try:
        trainer = L.Trainer(**how)
    except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in plain(cfg.trainer).items())
        raise RosettaError(
            f"trainer: {printable(error)}\nChange what it was given, {printable(given)}; "
            "trainer=cpu works everywhere."
        ) from error
    check_choice("trainer.precision", trainer.precision, PRECISIONS)
    _check_processes(trainer)
    return trainer


def _check_processes(trainer: L.Trainer) -> None:
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _MultiProcessingLauncher):
        raise RosettaError(
            "trainer.strategy: expected processes that run the command, not copies of this one, "
            "whose results would be lost.\nUse trainer.strategy=ddp."
        )
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    environment = launcher.cluster_environment
    try:
        environment.validate_settings(launcher.num_processes, launcher.num_nodes)
    except ValueError as error:
        raise RosettaError(
            f"trainer.devices={trainer.num_devices}, trainer.num_nodes={trainer.num_nodes}: not as "
            f"many as there are processes ({printable(error)})\n"
            "Give the numbers of torchrun's --nproc-per-node and --nnodes, or use trainer=slurm."
        ) from None
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False  # it would save a checkpoint; ours goes on without
    swept = HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN
    if swept and not environment.creates_processes_externally and trainer.num_devices > 1:
        raise RosettaError(
            f"trainer.devices={trainer.num_devices}: a job of a sweep starts no processes of its "
            "own.\nUse trainer.devices=1, or start the sweep with torchrun or "
            "hydra/launcher=submitit_slurm."
        )


@contextmanager
def one_device(trainer: L.Trainer) -> Iterator[torch.device]:
    """The device and, within, the precision of a trainer, for work that it does not run itself.

    Raises:
        RosettaError: it has several devices.
    """
    if trainer.world_size > 1:
        raise RosettaError(
            f"trainer.devices={trainer.num_devices}, trainer.num_nodes={trainer.num_nodes}: this "
            "command works on one device.\nUse trainer.devices=1, or [N] for the GPU of number N."
        )
    with trainer.precision_plugin.forward_context():
        yield trainer.strategy.root_device
