"""The Lightning trainer of a run."""

from __future__ import annotations

from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig

from rosetta_lab.errors import RosettaError
from rosetta_lab.run.configs import plain
from rosetta_lab.run.precision import set_matmul_precision


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
