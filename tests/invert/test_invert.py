"""``python -m rosetta_lab.invert``: results, resuming, sharing out, mistakes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cases import first
from commands import Done, call, process, words
from PIL import Image
from safetensors.torch import load_file

from rosetta_lab.data.images import ImageFolder
from rosetta_lab.files import PACKAGE
from rosetta_lab.invert.results import Results
from rosetta_lab.invert.run import SharedOut

QUICK = [
    "steps=6",
    "batch_size=2",
    "perceptual=resnet_fashion",
    "~judges.lpips_fashion",
    "matches=resnet_fashion",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
]


def run(*arguments: str, cwd: Path) -> Done:
    return call("invert", *QUICK, *arguments, cwd=cwd)


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


@pytest.mark.slow
def test_another_batch_size_and_precision_of_products(whole: Path, tmp_path: Path) -> None:
    """Of these two, results depend on the second; that on the first is no reason to refuse."""
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    settings = folder / "settings.yaml"
    assert "batch_size: 2\n" in settings.read_text()
    for name in ("bag_orange", "coat_red", "sneaker_blue"):
        shutil.rmtree(folder / "results" / name)
    kept = {name: done.stat().st_mtime_ns for name, done in results(folder).items()}
    other = ["batch_size=3", "trainer.log_every_n_steps=1", "logger=[]", "objective=ssim"]
    done = run(f"resume={folder}", *other, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "batch_size: 3\n" in settings.read_text()
    for name, place in results(folder).items():
        if name in kept:
            assert place.stat().st_mtime_ns == kept[name]
        a, b = (
            load_file(p / "latent.safetensors")["latent"] for p in (place, results(whole)[name])
        )
        assert torch.allclose(a, b, atol=1e-4)
    assert len(results(folder)) == 8
    done = run(f"resume={folder}", "matmul_precision=high", cwd=tmp_path)
    assert done.returncode == 1 and "holds results of other settings" in done.stdout


@pytest.mark.slow
def test_killed_three_times_and_resumed(whole: Path, tmp_path: Path) -> None:
    written: dict[str, int] = {}
    folder = tmp_path / "run"
    for moment in (0, 2, 4):  # results that are there when the process is killed
        where = [f"resume={folder}"] if folder.exists() else [f"hydra.run.dir={folder}"]
        running = subprocess.Popen(
            words("invert", *QUICK, *where, "steps=40"), cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and running.poll() is None:
            if len(results(folder)) >= moment and (folder / "results").exists() | (moment == 0):
                if moment == 0:
                    time.sleep(3.0)
                break
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
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


@pytest.mark.slow
def test_two_processes_share_the_images(whole: Path, tmp_path: Path) -> None:
    shared = ["hydra.run.dir=run", "trainer.devices=2", "trainer.strategy=ddp"]
    done = process("invert", *QUICK, *shared, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ours, alone = results(tmp_path / "run"), results(whole)
    assert sorted(ours) == sorted(alone)
    for name, folder in ours.items():
        a, b = (load_file(f / "latent.safetensors")["latent"] for f in (folder, alone[name]))
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_processes_that_torchrun_starts_share_one_folder(whole: Path, tmp_path: Path) -> None:
    """Where nobody names a folder, and one batch would hold all images."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("-m", "rosetta_lab.invert", *QUICK, "batch_size=8"),
        *("trainer.devices=2", "trainer.strategy=ddp"),
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=400)
    (folder,) = (tmp_path / "outputs" / "invert").iterdir()
    assert sorted(results(folder)) == sorted(results(whole))
    assert (folder / "index.html").is_file()
    mentioned = (folder / "results.csv").read_text()
    assert all(name in mentioned for name in results(whole))


class Other:
    """A trainer of the second of three processes, whose first writes to ``there``."""

    is_global_zero, global_rank, world_size = False, 1, 3

    def __init__(self, there: Path) -> None:
        self.there, self.strategy = there, self

    def broadcast(self, mine: Path) -> Path:
        return self.there

    def barrier(self) -> None:
        pass


def test_a_process_writes_to_the_first_ones_folder(tmp_path: Path) -> None:
    first = Results(tmp_path / "first")
    first.claim("steps: 1")
    (first.root / ".new_x").mkdir(parents=True)  # the first process is at work
    targets = ImageFolder(PACKAGE / "data" / "samples", 8)
    data = SharedOut(targets, Results(tmp_path / "mine"), "steps: 1", 8)
    data.trainer = Other(tmp_path / "first")  # type: ignore[assignment]
    data.setup("predict")
    assert data.results.root == first.root and (first.root / ".new_x").is_dir()
    assert not (tmp_path / "mine").exists()
    assert [data.batches.ids(batch) for batch in data.batches.batches] == [
        targets.ids[:3], targets.ids[3:6], targets.ids[6:],
    ]  # fmt: skip
    assert list(data.predict_dataloader().sampler) == [1]  # type: ignore[arg-type]


def test_broken_file_is_told_and_counted(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (90, 70), "navy").save(images / "good.jpg")
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")
    (images / "photo.heic").write_bytes(b"of a kind that is not read")
    done = run(
        f"images={images}", f"hydra.run.dir={tmp_path / 'run'}", "label=sneaker", cwd=tmp_path
    )
    assert done.returncode == 1
    assert list(results(tmp_path / "run")) == ["good"]
    said = done.stdout + done.stderr
    assert "bad: " in said and "1 files are passed over" in said
    assert "1 of 2 images could not be inverted" in said and "1 of 2 images have no result" in said
    page = (tmp_path / "run" / "index.html").read_text()
    assert "1 image has no result" in page and "<b>bad</b>: " in page
    stored = load_file(results(tmp_path / "run")["good"] / "latent.safetensors")
    assert int(stored["class_weights"].argmax()) == 7


def test_a_diverged_image_is_told_and_counted(tmp_path: Path) -> None:
    image = tmp_path / "far.png"
    Image.new("RGB", (64, 64), "navy").save(image)
    done = run(f"images={image}", f"hydra.run.dir={tmp_path / 'run'}", "lr=1e30", cwd=tmp_path)
    assert done.returncode == 1
    assert not results(tmp_path / "run")
    assert "far: the optimisation diverged: choose a smaller lr=" in done.stdout + done.stderr


@pytest.mark.slow
def test_edits_start_from_the_tuned_generator(tmp_path: Path) -> None:
    image = tmp_path / "a" / "night.png"
    image.parent.mkdir()
    Image.new("RGB", (64, 64), "navy").save(image)
    done = run(
        f"images={image}", f"hydra.run.dir={tmp_path / 'run'}", "label=7", "pti.steps=2",
        "pti.lr=0.01", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = results(tmp_path / "run")["night"]
    assert json.loads((own / "result.json").read_text())["tuned_psnr"] > 0.0
    done = call(
        "edit",
        *(f"latent.file={own / 'latent.safetensors'}", "steps=1", "frames=0", "controls=false"),
        *("reference_images=2", "hydra.run.dir=edited"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    before = tmp_path / "edited" / "results" / "night" / "before.png"
    tuned, plain = (Image.open(own / f"{name}.png").tobytes() for name in ("tuned", "inverted"))
    assert Image.open(before).tobytes() == tuned != plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        8,
        [
            (["matches=vgg"], "the dictionary has no such model"),
            (["dictionary=nowhere"], "Mine one"),
            (["label=12"], "expected 0 to 9"),
            (["label=sneeker"], "the name of a class"),
            (["normalization=foo"], "Choose from cosine"),
            (["normalization=foo", "matches=none"], "Choose from cosine"),
            (["pool=foo"], "Choose from rosetta, accepted, best_buddies"),
            (["space="], "Choose from z, w, w+"),
            (["start=meen"], "Choose mean, random"),
            (["start=mean", "space=z"], "Choose start=random"),
            (["optimize_class=true"], "Choose space=z"),
            (["classifier=mae_fashion"], "the logits of 10 classes"),
            (["classifier=vgg"], "no such model"),
            (["steps=0"], "steps=0: expected a whole number from 1 on"),
            (["steps=many"], "steps=many: expected a whole number from 1 on"),
            (["batch_size=0"], "batch_size=0: expected a whole number from 1 on"),
            (["data=imagenet_val"], "] - data.root is not given"),
            (["images=nowhere"], "no such file or folder of images"),
        ],
    ),
)
def test_mistakes_are_told_in_two_lines(
    arguments: list[str],
    message: str,
    tmp_path: Path,
) -> None:
    quick = ["trainer.accelerator=cpu", "~perceptual", "loss.perceptual=0", "matches=clip_fashion"]
    given = {argument.split("=")[0] for argument in arguments}
    quick = [argument for argument in quick if argument.split("=")[0] not in given]
    done = call("invert", *arguments, *quick, f"hydra.run.dir={tmp_path}", cwd=tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert message in said and "Traceback" not in said
    assert len(said.split("[ERROR] - ")[-1].strip().splitlines()) <= 2
    assert not (tmp_path / "results").exists()
