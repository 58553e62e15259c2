"""Disks that are full or read-only, files that are damaged, two runs at once: nothing is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apart import another_shift_and_no_end, outcome, start, warm_up
from commands import Done, call
from toy_runs import EDIT, INVERT, MINE

from rosetta_lab.files import UNFINISHED

STORED = Path(__file__).parents[1] / "stored"
QUIET = "trainer.enable_progress_bar=false"
BOTH = "runs=[inverted_plain,inverted_all]"
RUNS = {
    "mine": [*MINE, QUIET],
    "invert": [*INVERT[2:], "steps=2", "batch_size=2", "images=photos"],
    "edit": [*EDIT[1:], "steps=2", "controls=false"],
    "visualize": ["images=4", "shown=2", "seeds=[0]", "steps=1", "trainer.accelerator=cpu", QUIET],
    "ablate": ["latents=4", "draws=1", "resamples=10", "images=photos", QUIET],
    "diff": [
        "num_images=2",
        "images=photos",
        "permutations=5",
        "neighbours=1",
        "page_images=2",
        "shown=1",
        "layers={resnet_fashion:[layer4.*],clip_fashion:[visual.layer4.*]}",
        "draws=1",
        QUIET,
    ],
    "retrieve": ["dictionary=mined", "num_images=12", "nearest=6", "resamples=10", QUIET],
    "compare": [BOTH, "resamples=10"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "here"))


def run(command: str, folder: Path, *more: str) -> Done:
    elsewhere = any(word.startswith(("resume=", "hydra.run.dir=")) for word in more)
    where = () if elsewhere else ("hydra.run.dir=run",)
    environment = {"ROSETTA_CACHE": str(folder / "cache")}
    return call(command, *RUNS[command], *where, *more, cwd=folder, **environment)


def told(done: Done) -> str:
    """What an error says, in two lines."""
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said, said
    last = said.strip().split("[ERROR] - ")[-1]
    assert len(last.splitlines()) <= 2
    return last


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: to a run the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which this process, which may be root's, can write nothing."""
    kept = {path: path.stat().st_mode for path in (folder, *folder.parents)}
    os.chmod(folder, 0o555)
    for parent in list(folder.parents)[:-1]:
        with contextlib.suppress(PermissionError):
            os.chmod(parent, parent.stat().st_mode | 0o055)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in kept.items():
            with contextlib.suppress(PermissionError):
                os.chmod(path, mode)


SIZES = [20_000, pytest.param(3_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "command",
    [
        name if name in ("mine", "compare") else pytest.param(name, marks=pytest.mark.slow)
        for name in RUNS
    ],
)
def test_a_disk_that_fills(command: str, size: int, folder: Path) -> None:
    """Two lines; what is there is whole; with room the same command ends as ever."""
    with room_for(size):
        assert "cannot write" in told(run(command, folder))
    left = [path.name for path in folder.rglob("*")]
    assert not [name for name in left if UNFINISHED.fullmatch(name) or name.startswith(".new_")]
    done = run(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "run" / "index.html").is_file()


def test_a_folder_that_is_read_only(folder: Path) -> None:
    assert run("compare", folder).returncode == 0  # imports what another user may not read
    for where in ("hydra.run.dir=locked/run", "hydra.run.dir=locked"):
        (folder / "locked").mkdir(exist_ok=True)
        with read_only(folder / "locked"):
            assert "cannot write locked" in told(run("compare", folder, where))
        assert not list((folder / "locked").iterdir())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 4
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_sums_whose_newest_file_is_damaged(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """The one before stands in: one batch is done again, and the result is the same."""
    warm_up()
    mine = ("mine", *RUNS["mine"], "hydra.run.dir=run")
    cache = {"ROSETTA_CACHE": str(tmp_path / "cache")}
    killed = start(*mine, cwd=tmp_path, before=another_shift_and_no_end, **cache)
    killed.join(180)
    assert killed.exitcode == -signal.SIGKILL
    newest, before = (
        next((tmp_path / "cache" / "mining").rglob(f"rank-0-of-1.{name}safetensors"))
        for name in ("", "before.")
    )
    kept = before.read_bytes()
    assert kept != newest.read_bytes()
    damage(newest)
    done = run("mine", tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert ("Unfinished sums are passed over" in said) == (damage is not Path.unlink)
    whole = run("mine", tmp_path, "hydra.run.dir=whole", "cache=false")
    assert whole.returncode == 0
    assert images_seen(tmp_path / "run") == images_seen(tmp_path / "whole")[1:]


def images_seen(run: Path) -> list[str]:
    """Images so far, after every batch of a run."""
    table = (run / "csv" / "metrics.csv").read_text().splitlines()
    place = table[0].split(",").index("images")
    return [seen for row in table[1:] if (seen := row.split(",")[place])]


@pytest.mark.slow
def test_two_runs_in_one_folder(folder: Path) -> None:
    """The second is refused, and leaves the first's files as they are."""
    warm_up()
    steps = [word for word in RUNS["invert"] if not word.startswith("steps=")]
    first = start("invert", *steps, "steps=100000", "hydra.run.dir=run", cwd=folder)
    try:
        while not (folder / "run" / "settings.yaml").exists():
            first.join(0.1)
            assert first.is_alive()
        notes = {p: p.read_bytes() for p in (folder / "run" / ".hydra").rglob("*.yaml")}
        for again in (("resume=run",), (), ("steps=3",)):
            said = told(run("invert", folder, *again))
            assert "run: another run is at work in this folder" in said
        assert notes == {p: p.read_bytes() for p in (folder / "run" / ".hydra").rglob("*.yaml")}
        assert first.is_alive()
    finally:
        first.kill()
        first.join()
    assert run("invert", folder).returncode == 0  # a folder is free when its process has ended


@pytest.mark.slow
def test_two_runs_of_one_key(tmp_path: Path) -> None:
    """Each does its work; what both write of it is the same."""
    warm_up()
    cache = {"ROSETTA_CACHE": str(tmp_path / "cache")}
    both = [
        start("mine", *RUNS["mine"], f"hydra.run.dir={name}", cwd=tmp_path, **cache)
        for name in ("one", "two")
    ]
    for process in both:
        process.join(180)
    assert [process.exitcode for process in both] == [0, 0]
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
    kept = [path.suffix for path in (tmp_path / "cache" / "mining").iterdir()]
    assert sorted(kept) == [".safetensors", ".tables"]
