"""Photos that are given, and runs of toys that look at them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from commands import Done, call, process
from PIL import Image
from safetensors.torch import load_file

FIVE = ["resnet_fashion", "dino_resnet_fashion", "dino_vit_fashion", "mae_fashion", "clip_fashion"]
TOYS = [
    *(f"~disc.{name}" for name in FIVE),
    "+disc.a={_target_:toy.ToyModel,weights:random}",
    "+disc.b={_target_:toy.ToyModel,seed:2,size:5,weights:random}",
    "+disc.c={_target_:toy.ToyModel,seed:3,size:7,weights:random}",
    "k=2",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "save_tables=true",
    "page_images=4",
]


def photos(folder: Path, count: int = 30) -> Path:
    """Files of unlike sizes, shapes and formats, whose names are not in the order of writing."""
    folder.mkdir()
    source = np.random.default_rng(0)
    for number in reversed(range(count)):
        shape = (6 + number % 7, 5 + 3 * (number % 4), 3)
        picture = Image.fromarray(source.integers(0, 256, shape, dtype=np.uint8))
        picture.save(folder / f"{number:02d}.{'png' if number % 2 else 'bmp'}")
    return folder


def command(
    tmp_path: Path, *arguments: str, within: bool = True, name: str = "mine", toys: bool = True
) -> Done:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "ROSETTA_CACHE": str(tmp_path / "cache")}
    words = [*arguments, *(["gen=null", *TOYS] if toys else [])]
    return (call if within else process)(name, *words, cwd=tmp_path, **environment)


def run(tmp_path: Path, name: str, *arguments: str, within: bool = True) -> Path:
    done = command(tmp_path, f"hydra.run.dir={name}", *arguments, within=within)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return tmp_path / name


def tables(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted((folder / "correlation").glob("*.safetensors"))
    return {path.stem: load_file(path)["r"] for path in files}


def dictionary(folder: Path) -> dict:
    record: dict = json.loads((folder / "dictionary.json").read_text())
    return record
