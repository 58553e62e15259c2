"""Ctrl-C and SIGTERM in every phase of a run: two lines, a code, nothing half-written."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import Done, call
from toy_runs import EDIT, INVERT, MINE

from rosetta_lab.files import UNFINISHED

STORED = Path(__file__).parents[1] / "stored"
COMMANDS = {
    "mine": [*MINE, "trainer.enable_progress_bar=false", "row_blocks=2", "page_images=4"],
    "invert": [*INVERT[2:], "steps=2", "batch_size=1", "images=photos"],
    "edit": [*EDIT[1:], "steps=2", "controls=false"],
}
# Where the signal comes: a function that is called in this phase, as it is looked up.
PHASES = {
    ("mine", "setup"): "mine.passes.shapes_of",
    ("mine", "pilot"): "mine.module.pilot_run",
    ("mine", "pass"): "mine.module.check_finite",
    ("mine", "matching"): "mine.module.match",
    ("mine", "writing tables"): "mine.module.bands",
    ("mine", "writing what is kept"): "files.content_digest",
    ("mine", "writing"): "dictionary.schema.digest_of",
    ("mine", "page"): "mine.page.index.write_document",
    ("invert", "setup"): "invert.setup.matched_pairs",
    ("invert", "claiming"): "invert.results.atomic_write",
    ("invert", "optimising"): "invert.optimise.losses",
    ("invert", "judging"): "invert.judge.Judge.__call__",
    ("invert", "writing"): "invert.results.write_image",
    ("invert", "page"): "invert.page.index.write_document",
    ("edit", "setup"): "edit.setup.from_seeds",
    ("edit", "optimising"): "invert.optimise.losses",
    ("edit", "writing"): "edit.arms.write_image",
    ("edit", "page"): "edit.page.index.write_document",
}
BY_DEFAULT = [("mine", "pass"), ("invert", "writing")]


def signalled(place: str, number: signal.Signals, patch: pytest.MonkeyPatch) -> None:
    """Have this process signalled when a function is first called."""
    name, _, attribute = place.rpartition(".")
    owner: Any
    try:
        owner = importlib.import_module(f"rosetta_lab.{name}")
    except ModuleNotFoundError:  # of a class
        module, _, kind = name.rpartition(".")
        owner = getattr(importlib.import_module(f"rosetta_lab.{module}"), kind)
    function, calls = getattr(owner, attribute), []

    def call_it(*arguments: Any, **how: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), number)
        return function(*arguments, **how)

    patch.setattr(owner, attribute, call_it)


def run(command: str, folder: Path) -> Done:
    return call(
        *(command, *COMMANDS[command], "hydra.run.dir=run"),
        cwd=folder,
        ROSETTA_CACHE=str(folder / "cache"),
    )


@pytest.mark.parametrize(
    ("command", "phase"),
    [p if p in BY_DEFAULT else pytest.param(*p, marks=pytest.mark.slow) for p in PHASES],
)
@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM],
    ids=lambda it: it.name,
)
def test_asked_to_end(command: str, phase: str, number: signal.Signals, tmp_path: Path) -> None:
    shutil.copytree(STORED / "photos", tmp_path / "photos")
    with pytest.MonkeyPatch.context() as patch:
        signalled(PHASES[command, phase], number, patch)
        done = run(command, tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 128 + number, said
    assert "Traceback" not in said
    first, second = done.stderr.strip().splitlines()[-2:]
    assert first.startswith(f"Ended by {number.name}")
    assert second == f"Go on with python -m rosetta_lab.{command} resume={tmp_path}/run"
    left = [path.name for path in tmp_path.rglob("*")]
    assert not [name for name in left if UNFINISHED.fullmatch(name) or name.startswith(".new_")]
    again = run(command, tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (tmp_path / "run" / "index.html").is_file()
