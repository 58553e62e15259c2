"""What a run's trainer is made of, and the device and precision of work that it does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import TQDMProgressBar
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.errors import RosettaError
from rosetta_lab.run.precision import set_matmul_precision
from rosetta_lab.run.trainer import make_trainer, one_device


def config(**trainer: Any) -> DictConfig:
    arguments = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False} | trainer
    return OmegaConf.create({"trainer": arguments})


def test_arguments_with_a_target_are_made(tmp_path: Path) -> None:
    stop = {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:01:00:00"}
    cfg = config(callbacks=[stop], enable_progress_bar=True, limit_val_batches=3)
    before = cfg.copy()
    trainer = make_trainer(cfg, tmp_path)
    kinds = [type(callback).__name__ for callback in trainer.callbacks]
    assert "Timer" in kinds and trainer.limit_val_batches == 3 and trainer.loggers == []
    assert sum(isinstance(callback, TQDMProgressBar) for callback in trainer.callbacks) == 1
    assert cfg == before


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_precisions_of_other_weights_are_refused(precision: str, tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match=rf"trainer.precision={precision}: .*\n.*bf16-mixed"):
        make_trainer(config(precision=precision), tmp_path)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [(None, torch.float32), ("32", torch.float32), ("bf16-mixed", torch.bfloat16)],
)
def test_work_on_one_device_has_its_precision(
    precision: str | None, dtype: torch.dtype, tmp_path: Path
) -> None:
    square = torch.ones(2, 2)
    with one_device(make_trainer(config(precision=precision), tmp_path)) as device:
        assert device == torch.device("cpu")
        assert (square @ square).dtype == dtype
    assert (square @ square).dtype == torch.float32


def test_one_device_is_not_two(tmp_path: Path) -> None:
    trainer = make_trainer(config(devices=2), tmp_path)
    refused = pytest.raises(RosettaError, match=r"trainer.devices=2.*\nUse trainer.devices=1")
    with refused, one_device(trainer):
        pytest.fail("it works on one of them")


def trainer_config(accelerator: str, **options: str) -> DictConfig:
    trainer = {"accelerator": accelerator, "devices": 1, "enable_progress_bar": False}
    return OmegaConf.create({"logger": None, "trainer": trainer, **options})


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_apple_gpus_are_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no float64, so a Mac mines on its CPU, and says so to who asks for its GPU."""
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    assert make_trainer(trainer_config("auto"), tmp_path).strategy.root_device.type == "cpu"
    for accelerator in ("mps", "gpu"):
        with pytest.raises(RosettaError, match="float64") as error:
            make_trainer(trainer_config(accelerator), tmp_path)
        first, second = str(error.value).splitlines()
        assert f"trainer.accelerator={accelerator}" in first
        assert "trainer.accelerator=cpu" in second


@pytest.mark.parametrize(
    ("options", "precision", "tf32"),
    [
        ({}, "highest", False),
        ({"matmul_precision": "highest"}, "highest", False),
        ({"matmul_precision": "high"}, "high", True),
        ({"matmul_precision": "medium"}, "medium", True),
    ],
)
def test_one_option_rounds_products_and_convolutions(
    tmp_path: Path, options: dict[str, str], precision: str, tf32: bool
) -> None:
    make_trainer(trainer_config("cpu", **options), tmp_path)
    found = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    set_matmul_precision("highest")
    assert found == (precision, tf32)
