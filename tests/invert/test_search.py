"""A search of Optuna over an inversion's weights, as ``hydra/sweeper=optuna_tpe`` runs it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from commands import call
from omegaconf import OmegaConf
from PIL import Image


@pytest.mark.slow
def test_two_trials_leave_the_better_one_and_a_comparison(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "navy.png")
    done = call(
        "invert",
        *("--multirun", "hydra/sweeper=optuna_tpe", "hydra.sweeper.n_trials=2"),
        *("alpha=tag(log,interval(0.001,1))", "beta=choice(0.5,2)", "hydra.sweep.dir=search"),
        *("matches=dino_resnet_fashion", "images=navy.png", "label=7", "steps=2"),
        *("perceptual=resnet_fashion", "objective=ssim"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    search = tmp_path / "search"
    with (search / "runs.csv").open(newline="") as stream:
        runs = list(csv.DictReader(stream))
    assert len(runs) == 2 and runs[0]["alpha"] != runs[1]["alpha"]
    assert all(0.001 <= float(run["alpha"]) <= 1.0 for run in runs)
    best = OmegaConf.load(search / "optimization_results.yaml")
    assert best.best_value == max(float(run["ssim"]) for run in runs)
    assert (search / "index.html").is_file()
