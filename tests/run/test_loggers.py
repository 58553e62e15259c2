"""Loggers where nothing is set up: a user's first run, with an empty home and environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import process
from wandb_log import items, records

from rosetta_lab.dictionary.schema import RosettaDictionary


def test_wandb_without_a_login_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ.keys() - {"PATH", "PYTHONPATH", "OMP_NUM_THREADS"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = process(
        "mine",
        *("disc=[resnet_fashion]", "num_images=8", "page_images=2", "k=2", "null=none"),
        *("logger=[csv,tensorboard,wandb]", "hydra.run.dir=run"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = RosettaDictionary.load(tmp_path / "run").summary
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    logged: dict[str, float] = {}
    for record in records(log):
        logged |= items(record.history.item)
    assert logged["rosetta_neurons"] == found["rosetta_neurons"] > 0
    assert logged["concepts"] == found["concepts"]
