"""``python -m rosetta_lab.invert`` as a process: results, resuming, sharing out, mistakes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

QUICK = [
    "steps=6",
    "batch_size=2",
    "perceptual=resnet_fashion",
    "~judges.lpips_fashion",
    "matches=resnet_fashion",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rosetta_lab.invert", *QUICK, *arguments]


# One thread everywhere, as several processes have it: sums in another order would differ, and Adam
# makes steps of a gradient's sign.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


def results(folder: Path) -> dict[str, Path]:
    return {p.parent.name: p.parent for p in sorted(folder.glob("results/**/result.json"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An uninterrupted run over the shipped images."""
    folder = tmp_path_factory.mktemp("invert") / "run"
    done = run(f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_image_has_its_result(whole: Path) -> None:
    found = results(whole)
    assert len(found) == 8
    for folder in found.values():
        record = json.loads((folder / "result.json").read_text())
        stored = load_file(folder / "latent.safetensors")
        assert stored["latent"].shape == (1, 128)
        assert stored["curve/total"].shape == (6,)
        assert record["loss/total"] == pytest.approx(float(stored["curve/total"][-1]))
        assert 5.0 < record["psnr"] < 40.0
        assert Image.open(folder / "inverted.png").size == (64, 64)
    with (whole / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == sorted(found)


def test_psnr_is_that_of_the_pictures(whole: Path) -> None:
    folder = results(whole)["bag_orange"]
    a, b = (
        torch.tensor(list(Image.open(folder / name).get_flattened_data()), dtype=torch.float64)
        for name in ("inverted.png", "target.png")
    )
    error = float(((a - b) / 255.0).square().mean())
    record = json.loads((folder / "result.json").read_text())
    assert record["psnr"] == pytest.approx(-10.0 * torch.tensor(error).log10().item(), abs=0.05)


def test_results_of_other_settings_are_refused(whole: Path) -> None:
    done = run(f"resume={whole}", "steps=7", cwd=whole.parent)
    assert done.returncode == 1
    assert "holds results of other settings" in done.stdout + done.stderr


def test_killed_three_times_and_resumed(whole: Path, tmp_path: Path) -> None:
    written: dict[str, int] = {}
    folder = tmp_path / "run"
    for moment in (0, 2, 4):  # results that are there when the process is killed
        where = [f"resume={folder}"] if folder.exists() else [f"hydra.run.dir={folder}"]
        process = subprocess.Popen(
            command(*where, "steps=40"), cwd=tmp_path, env=ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            if len(results(folder)) >= moment and (folder / "results").exists() | (moment == 0):
                if moment == 0:
                    time.sleep(3.0)
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, done in results(folder).items():
            stamp = os.stat(done / "result.json").st_mtime_ns
            assert written.setdefault(name, stamp) == stamp  # none is done twice
    assert len(written) < 8
    last = run(f"resume={folder}", "steps=40", cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert len(results(folder)) == 8
    assert not list(folder.rglob(".new_*"))
    for name, stamp in written.items():
        assert os.stat(results(folder)[name] / "result.json").st_mtime_ns == stamp
    again = run(f"hydra.run.dir={tmp_path / 'again'}", "steps=40", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for name, done in results(folder).items():
        other = results(tmp_path / "again")[name]
        assert (done / "result.json").read_text() == (other / "result.json").read_text()
        a, b = (load_file(f / "latent.safetensors") for f in (done, other))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_two_processes_share_the_images(whole: Path, tmp_path: Path) -> None:
    done = run(
        f"hydra.run.dir={tmp_path / 'run'}", "trainer.devices=2", "trainer.strategy=ddp",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours, alone = results(tmp_path / "run"), results(whole)
    assert sorted(ours) == sorted(alone)
    for name, folder in ours.items():
        a, b = (load_file(f / "latent.safetensors")["latent"] for f in (folder, alone[name]))
        assert torch.allclose(a, b, atol=1e-4)


def test_broken_file_is_told_and_counted(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (90, 70), "navy").save(images / "good.jpg")
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")
    done = run(f"images={images}", f"hydra.run.dir={tmp_path / 'run'}", "label=7", cwd=tmp_path)
    assert done.returncode == 1
    assert list(results(tmp_path / "run")) == ["good"]
    assert "bad: " in done.stdout + done.stderr
    assert "1 of 2 images could not be inverted" in done.stdout + done.stderr


def test_a_sweep_goes_on_after_a_failed_job(tmp_path: Path) -> None:
    image = tmp_path / "good.png"
    Image.new("RGB", (64, 64), "navy").save(image)
    sweep = ["hydra.mode=MULTIRUN", f"images={tmp_path / 'nowhere'},{image}", "label=7", "steps=1"]
    done = run(f"hydra.sweep.dir={tmp_path / 'sweep'}", *sweep, cwd=tmp_path)
    assert done.returncode == 1
    assert list(results(tmp_path / "sweep" / "1")) == ["good"]
    assert "nowhere" in done.stdout + done.stderr
    assert f"rosetta_lab.compare runs=[{tmp_path / 'sweep'}]" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("matches=vgg", "the dictionary has no such model"),
        ("dictionary=nowhere", "Mine one"),
        ("label=12", "expected 0 to 9"),
    ],
)
def test_mistakes_are_told_in_two_lines(argument: str, message: str, tmp_path: Path) -> None:
    done = run(argument, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert message in said
    assert "Traceback" not in said
