"""What csv, TensorBoard and an offline W&B run hold of a run of inversions."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import wandb
from commands import process
from hydra.core.utils import JobReturn, JobStatus
from inversion_fixtures import STEPS, write_results
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import OmegaConf
from PIL import Image
from small_generator import generator  # noqa: F401  a fixture
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader
from wandb_log import finished, items

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE
from rosetta_lab.invert.figures import objective
from rosetta_lab.invert.latent_code import LatentCode, random_z
from rosetta_lab.invert.logged import KEY_IMAGES, log_curves
from rosetta_lab.invert.module import InversionModule
from rosetta_lab.invert.objective import Evaluation, Objective
from rosetta_lab.invert.optimise import Problem
from rosetta_lab.invert.results import IMAGE, TARGET, Results
from rosetta_lab.run.loggers import FinishRun, wandb_logger, wandb_offline

# The fixture of the small generator is imported by name.
# ruff: noqa: F811

IDS = [f"{place:05d}_coat" for place in range(10)]


def figures(place: int) -> dict[str, float]:
    return {"psnr": 10.0 + place, "ssim": 0.1 * place, "lpips": 0.5}


def mean_course(results: Results, part: str) -> list[float]:
    return torch.stack([results.curves(name)[part] for name in IDS]).mean(dim=0).tolist()


def test_csv_and_tensorboard_hold_the_same_scalars(tmp_path: Path) -> None:
    results = write_results(tmp_path, IDS, figures)
    loggers = [
        CSVLogger(tmp_path, "", "csv"),
        TensorBoardLogger(tmp_path, "", "tensorboard"),
    ]
    log_curves(loggers, results, list(results.records(IDS)))
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    total = [float(row["mean_loss/total"]) for row in rows if row["mean_loss/total"]]
    assert total == pytest.approx(mean_course(results, "total"))
    assert float(rows[-1]["psnr"]) == pytest.approx(14.5)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.value for e in events.Scalars("mean_loss/total")] == pytest.approx(total)
    assert [(e.step, e.value) for e in events.Scalars("ssim")] == [(STEPS, pytest.approx(0.45))]


READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
print(json.dumps(found))
"""


def read_events(folder: Path) -> dict[str, list[list[float]]]:
    """Steps and values of every scalar in TensorBoard's files, as another process sees them."""
    command = [sys.executable, "-c", READ, str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def test_losses_are_in_the_files_while_it_runs(generator, tmp_path: Path, monkeypatch) -> None:
    """Looked at in the middle of the second of two batches; later nothing is there twice."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))  # restored afterwards
    loggers = [
        CSVLogger(tmp_path, "", "csv"),
        TensorBoardLogger(tmp_path, "", "tensorboard"),
        wandb_logger(str(tmp_path), project="p", offline=True),
    ]
    losses: list[list[float]] = []  # of every step
    midway: dict[str, list[list[float]]] = {}
    rows: list[dict[str, str]] = []

    def pose(batch: torch.Tensor) -> Problem:
        z = random_z(generator, [f"{number} of {int(batch)}" for number in range(3)], 0)
        only = Objective({"l2": 1.0, "latent_l2": 0.1}, torch.zeros(3, 3, 8, 8).double())

        def watched(code: LatentCode) -> Evaluation:
            if len(losses) == STEPS + 25:
                midway.update(read_events(tmp_path / "tensorboard"))
                with (tmp_path / "csv" / "metrics.csv").open(newline="") as stream:
                    rows.extend(csv.DictReader(stream))
            evaluation = only(code)
            losses.append([float(x.mean()) for x in (evaluation.parts["l2"], evaluation.total)])
            return evaluation

        return LatentCode(generator, "w", generator.map(z, torch.eye(3).double())), watched

    trainer = L.Trainer(
        accelerator="cpu",
        logger=loggers,
        log_every_n_steps=10,
        inference_mode=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    module = InversionModule(pose, STEPS)
    trainer.predict(module, DataLoader(torch.arange(2), batch_size=None))
    steps = [0, 10, 20, 30, 39, 40, 50, 60]
    for place, name in enumerate(("loss/l2", "loss/total")):
        expected = [[step, pytest.approx(losses[step][place], rel=1e-6)] for step in steps]
        assert midway[name] == expected
        assert [[int(row["step"]), float(row[name])] for row in rows] == expected

    results = write_results(tmp_path, IDS, figures)
    log_curves(loggers, results, list(results.records(IDS)))
    wandb.finish()
    told = read_events(tmp_path / "tensorboard")
    assert [step for step, _ in told["loss/total"]] == [*steps, 70, 79]
    for name, points in told.items():
        assert len({step for step, _ in points}) == len(points), name
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as stream:
        cells = [(k, row["step"]) for row in csv.DictReader(stream) for k in row if row[k]]
    assert len({c for c in cells if c[0] != "step"}) == sum(k != "step" for k, _ in cells)
    (log,) = tmp_path.rglob("*.wandb")
    history = [items(r.history.item) for r in finished(log) if r.HasField("history")]
    steps_of = [row["trainer/global_step"] for row in history if "loss/total" in row]
    assert steps_of == [*steps, 70, 79]


def test_the_objective_is_a_mean_figure() -> None:
    found: list[dict[str, Any]] = [{"id": "a", "psnr": 1.0}, {"id": "b", "psnr": 2.0}]
    assert objective(found, "psnr") == 1.5
    assert objective([], "psnr") is None
    with pytest.raises(
        RosettaError, match=r"objective=snr: there is no such figure\.\nChoose from"
    ):
        objective(found, "snr")


def test_job_end_finishes_an_open_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(wandb, "run", object())
    monkeypatch.setattr(wandb, "finish", lambda exit_code: ended.append(exit_code))
    job = JobReturn()
    job.status = JobStatus.COMPLETED
    FinishRun().on_job_end(OmegaConf.create({}), job)
    job.status = JobStatus.FAILED
    FinishRun().on_job_end(OmegaConf.create({}), job)
    assert ended == [0, 1]


def test_an_offline_run_holds_numbers_and_pictures_wherever_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "home"))  # restored afterwards
    folder = tmp_path / "run"
    results = write_results(folder, IDS, figures)
    logger = wandb_logger(str(folder), "an arm", "a sweep", project="p", offline=True)
    log_curves([logger], results, list(results.records(IDS)))
    wandb.finish()
    assert not (tmp_path / "home").exists()
    moved = tmp_path / "moved"
    folder.rename(moved)

    (log,) = moved.rglob("*.wandb")
    found = finished(log)
    (run,) = (r.run for r in found if r.WhichOneof("record_type") == "run")
    assert (run.run_group, run.display_name) == ("a sweep", "an arm")
    history = [items(r.history.item) for r in found if r.HasField("history")]
    total = [row["mean_loss/total"] for row in history if "mean_loss/total" in row]
    assert total == pytest.approx(mean_course(Results(moved), "total"))
    summary: dict[str, Any] = {}
    for row in history:  # an offline run's summary is the last value of everything
        summary |= row
    assert [summary[name] for name in ("psnr", "ssim", "lpips")] == pytest.approx([14.5, 0.45, 0.5])

    files = log.parent / "files"
    pictures = [files / name for name in summary["pictures/inverted.filenames"]]
    assert len(pictures) == KEY_IMAGES
    assert summary["pictures/inverted.captions"] == IDS[:KEY_IMAGES]
    root = Results(moved).root
    for name, path in zip(IDS, pictures, strict=False):
        assert Image.open(path).tobytes() == Image.open(root / name / IMAGE).tobytes()

    (table,) = (r.artifact for r in found if r.HasField("artifact"))
    staged = {
        entry.path: moved / Path(entry.local_path).relative_to(folder)
        for entry in table.manifest.contents
    }
    content = json.loads(staged.pop("images.table.json").read_text())
    assert content["columns"] == ["id", "label", "target", "inverted", "psnr", "ssim", "lpips"]
    for place, row in enumerate(content["data"]):
        assert [row[0], *row[4:]] == [IDS[place], *figures(place).values()]
        for cell, file in ((row[2], TARGET), (row[3], IMAGE)):
            assert staged[cell["path"]].read_bytes() == (root / IDS[place] / file).read_bytes()


def test_a_resumed_run_goes_on_with_its_wandb_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))  # restored afterwards
    runs = [wandb_logger(str(tmp_path / name), offline=True)._id for name in "aab"]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("environment", "offline"),
    [
        ({}, True),
        ({"WANDB_API_KEY": "k" * 40}, False),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_MODE": "offline"}, True),
        ({"WANDB_MODE": "online"}, False),
        ({"WANDB_MODE": "disabled"}, False),  # writes nothing, and must not be made to
        ({"NETRC": "known"}, False),
        ({"NETRC": "other"}, True),
    ],
)
def test_offline_without_a_login(
    environment: dict[str, str], offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, host in (("known", "api.wandb.ai"), ("other", "example.org")):
        path = tmp_path / name
        path.write_text(f"machine {host}\n  login user\n  password {'k' * 40}\n")
        path.chmod(0o600)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(tmp_path / value) if name == "NETRC" else value)
    assert wandb_offline() is offline


@pytest.mark.slow
def test_jobs_of_a_sweep_are_runs_of_their_own(tmp_path: Path) -> None:
    """Two that end well and between them one that fails; each with a name, group, settings, end."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("coat_red", "bag_orange"):
        shutil.copy(PACKAGE / "data" / "samples" / f"{name}.png", images)
    long = tmp_path / ("i" * 120)
    images.rename(long)
    done = process(
        "invert",
        *("--multirun", "steps=1", "matches=none", "hydra.sweep.dir=sweeps/first"),
        *(f"images={long}", "label=7,12,3", "alpha=0.1", "logger=[csv,wandb]"),
        *("perceptual=resnet_fashion", "reference={paper: {psnr: 15.42}}"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "label=12: expected 0 to 9" in done.stderr
    assert "Traceback" not in done.stderr
    sweep = tmp_path / "sweeps" / "first"
    for number, label in enumerate((7, 12, 3)):
        (log,) = (sweep / str(number)).rglob("*.wandb")
        found = finished(log)
        (run,) = (r.run for r in found if r.WhichOneof("record_type") == "run")
        assert (run.run_group, run.display_name) == ("first", f"label={label}")
        settings = {
            update.key: json.loads(update.value_json)
            for record in found
            for update in [*record.config.update, *record.run.config.update]
        }
        assert (settings["label"], settings["alpha"]) == (label, 0.1)
        exits = [r.exit.exit_code for r in found if r.WhichOneof("record_type") == "exit"]
        assert exits == [int(label == 12)]
    # What the others came to is compared all the same, with what was measured elsewhere below.
    with (sweep / "runs.csv").open(newline="") as stream:
        assert [row["label"] for row in csv.DictReader(stream)] == ["7", "3"]
    assert (sweep / "index.html").is_file() and "15.42" in done.stdout
