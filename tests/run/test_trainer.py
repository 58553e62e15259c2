"""What a run's trainer is made of, and the device and precision of work that it does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from cases import first
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import TQDMProgressBar
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.run import app  # noqa: F401  what the configs refer to
from rosetta_lab.run.configs import plain
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


@pytest.mark.parametrize(
    "started",
    [
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4",
         "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "x"},
        {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "x",
         "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "1",
         "SLURM_JOB_NUM_NODES": "1"},
    ],
    ids=["torchrun", "slurm"],
)  # fmt: skip
def test_other_processes_than_were_started(
    started: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RosettaError, match=r"trainer.devices=1, .*\n.*trainer=slurm"):
        make_trainer(config(strategy="ddp"), tmp_path)


@pytest.mark.parametrize("name", first(3, ["auto", "cpu", "gpu", "ddp", "slurm"]))
def test_trainers_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each is; a command's own arguments and the command line's go before it."""
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    expected = {
        "auto": ("auto", 1, 1, "auto"), "cpu": ("cpu", 1, 1, "auto"), "gpu": ("gpu", 1, 1, "auto"),
        "ddp": ("auto", "auto", 1, "ddp"), "slurm": ("gpu", 4, 3, "ddp"),
    }  # fmt: skip
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        for command in ("mine", "invert", "edit", "visualize", "ablate", "plan"):
            found = plain(hydra.compose(command, [f"trainer={name}"]).trainer)
            keys = ("accelerator", "devices", "num_nodes", "strategy")
            assert tuple(({"num_nodes": 1} | found)[key] for key in keys) == expected[name]
            assert ("inference_mode" in found) == (command in ("invert", "edit", "visualize"))
            others = hydra.compose(command, [f"trainer={name}", "trainer.devices=7"])
            assert others.trainer.devices == 7
