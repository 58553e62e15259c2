"""Folders of strangers, opened by every command that opens one.

A kind of attack is written into every file of a run that could carry it. Whatever a command makes
of it, nothing of it runs: ``evil.py``, beside the run and in the path of modules, would leave a
marker, and so would a shell. No variable of the environment gets out, no file is written elsewhere,
a terminal is only shown text, and what is wrong is told in two lines.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Done, call

STORED = Path(__file__).parent / "stored"
NETWORK = "resnet_fashion"
QUIET = "trainer.enable_progress_bar=false"

COMMANDS: dict[str, list[str]] = {
    "invert": ["invert", "dictionary=mined", "data.path=photos", "steps=1", QUIET],
    "edit": [
        *("edit", "dictionary=mined", "steps=1", "controls=false", "frames=0"),
        *("reference_images=2", "latent.seed=0", QUIET),
    ],
    "visualize": [
        *("visualize", "dictionary=mined", "images=4", "shown=2", "steps=1", "seeds=0", QUIET)
    ],
    "atlas": [
        *("visualize", "dictionary=mined", "images=2", "shown=1", "steps=1", "seeds=0"),
        *("concept=all", QUIET),
    ],
    "ablate": [
        *("ablate", "dictionary=mined", "images=photos", "latents=2", "draws=1", "resamples=10"),
        *("pictures=1", QUIET),
    ],
    "retrieve": [
        *("retrieve", "dictionary=mined", "images=photos", "nearest=1", "draws=1", "resamples=10"),
        QUIET,
    ],
    "overlap": ["overlap", "dictionaries=[mined,mined]"],
    "export": ["export", "mined", "mined.zip"],
    "name": ["name", "dictionary=mined", "images=photos", "crops=1", "lists=3", QUIET],
    "compare": ["compare", "runs=[inverted_plain,inverted_all]", "resamples=10"],
    "resume": ["invert", "resume=inverted_all"],
    "resume mining": ["mine", "resume=mined", "num_images=4", "page_images=2", "null=none"],
    "start": [
        *("invert", "dictionary=mined", "data.path=photos", "steps=1", "matches=none"),
        *("start=inverted_all", QUIET),
    ],
    "recipe": ["edit", "recipe=edited/recipe.yaml", "frames=0", "controls=false", QUIET],
}
LOAD_MODELS = {
    "invert",
    "edit",
    "visualize",
    "atlas",
    "ablate",
    "name",
    "retrieve",
    "resume",
    "start",
    "recipe",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of stored runs, with ``evil`` in it; nothing of it has run, or got out, at the end."""
    shared = Path(shutil.copytree(STORED, tmp_path / "shared"))
    marker = tmp_path / "marker"
    (shared / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(shared))
    monkeypatch.delitem(sys.modules, "evil", raising=False)  # whoever imports it again leaves one
    monkeypatch.setenv("SECRET", "s3cr3t")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield shared
    assert {path.name for path in tmp_path.iterdir()} <= {"shared"}  # no marker, nothing else
    for path in shared.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path


def opened(command: str, folder: Path) -> Done:
    """What a command makes of the folder: something, or a refusal in two lines."""
    done = call(*COMMANDS[command], cwd=folder)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1)
    assert "s3cr3t" not in said and "Traceback" not in said
    assert all(c.isprintable() or c in "\n\t" for c in said.replace("\r", "")), ascii(said)
    if done.returncode:
        assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    return done


def change(path: Path, how: Callable[[Any], None], read: Any, write: Any) -> None:
    record = read(path.read_text())
    how(record)
    path.write_text(write(record))


def in_json(path: Path, how: Callable[[Any], None]) -> None:
    change(path, how, json.loads, json.dumps)


def in_yaml(path: Path, how: Callable[[Any], None]) -> None:
    change(path, how, yaml.safe_load, lambda record: yaml.safe_dump(record, allow_unicode=False))
