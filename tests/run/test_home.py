"""``~`` in paths on a command line, which shells leave as it is behind ``key=``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import call
from PIL import Image

from rosetta_lab.dictionary.mined import EMBEDDED, load_mined
from rosetta_lab.files import save_tensors
from rosetta_lab.invert.latent_files import metadata
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.run.command_line import at_home

QUICK = ["steps=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a dictionary, pictures, and a latent in the w of its generator."""
    shutil.copytree(EMBEDDED, tmp_path / "mined")
    generator = load_mined("embedded").generator
    start = from_seeds(generator, [3], 4, "w")
    tensors = {"latent": start.latent, "class_weights": start.c}
    save_tensors(tmp_path / "mine" / "latent.safetensors", tensors, metadata(generator, "w"))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "pictures" / "night.png")
    return tmp_path


@pytest.mark.slow
def test_every_path_may_begin_at_home(home: Path) -> None:
    file = "~/mine/latent.safetensors"
    for command, arguments in {
        "invert": [f"start={file}", "dictionary=~/mined", "images=~/pictures", "label=4",
                   "matches=none", "perceptual=resnet_fashion", "~judges.lpips_fashion"],
        "edit": [f"latent.file={file}", "edit.shift.mask=~/pictures/night.png", "controls=false",
                 "frames=0", "reference_images=2"],
    }.items():  # fmt: skip
        done = call(
            command, *arguments, *QUICK, f"hydra.run.dir=~/{command}", cwd=home, HOME=str(home)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (home / command / "index.html").is_file()


def test_only_where_a_path_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = ["~judges.x", "a=b~/c", "a=~", "a=~/b", "a=[~/b,c~/d,~/e]", "x=~you/b"]
    assert at_home(given) == [
        "~judges.x", "a=b~/c", "a=~", "a=/home/me/b", "a=[/home/me/b,c~/d,/home/me/e]", "x=~you/b",
    ]  # fmt: skip
