"""Sweeps whose jobs run at the same time, in processes of joblib and of submitit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import call, process
from toy_runs import MINE


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=20"],
    ],
    ids=["joblib", "submitit_local"],
)
def test_a_sweep_of_two_jobs(launcher: list[str], tmp_path: Path) -> None:
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]  # of the toys
    environment = {"PYTHONPATH": os.pathsep.join(paths), "ROSETTA_CACHE": str(tmp_path / "cache")}
    arguments = ["--multirun", *launcher, *MINE, "k=1,2", "trainer.enable_progress_bar=false"]
    done = process("mine", *arguments, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = (tmp_path / "outputs" / "mine" / "multirun").iterdir()
    found = [json.loads((sweep / job / "dictionary.json").read_text()) for job in "01"]
    assert [mined["k"] for mined in found] == [1, 2]
    assert all((sweep / job / "index.html").is_file() for job in "01")
    assert [path.name for path in (tmp_path / "outputs" / "mine").iterdir()] == ["multirun"]


def test_jobs_start_no_processes_of_their_own(tmp_path: Path) -> None:
    """Each would begin the whole sweep again."""
    share = ["trainer.devices=2", "trainer.strategy=ddp", "k=1,2"]
    done = call("mine", "--multirun", *MINE, *share, cwd=tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "trainer.devices=2: a job of a sweep starts no processes of its own" in said
