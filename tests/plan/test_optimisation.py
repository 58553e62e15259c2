"""What inversions and edits are said to need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import call

from rosetta_lab.plan import optimisation
from rosetta_lab.plan.optimisation import OptimisationPlan, measured
from rosetta_lab.plan.text import optimisation_text

GIGA = 10**9
PLAN = OptimisationPlan(
    "invert", "toy", 20, 500, 8, "cpu", 3 * GIGA, (1.0 * GIGA, 0.25 * GIGA), (0.5, 0.1)
)


def test_figures_by_hand() -> None:
    assert PLAN.peak == 2.75 * GIGA and PLAN.fits
    # Two batches of 8 and one of 4, every step of which takes 0.4 s and 0.1 s for each image.
    assert PLAN.duration(20, 500) == pytest.approx(500 * (3 * 0.4 + 20 * 0.1))
    text = optimisation_text(PLAN)
    assert "20 images, 500 steps of Adam for each, 8 at a time" in text
    assert "2.75 GB, of 3.00 GB" in text and "1.2 s for a step of 8 (0.5 s for one image)" in text
    assert "80 s per image, 27 min in all" in text
    assert f"Table 1, 5,000 images of 1,000 steps: {1000 * (625 * 0.4 + 500) / 3600:.1f} h" in text
    assert "WARNING" not in text


def test_too_large_a_batch_is_said() -> None:
    small = OptimisationPlan(**{**vars(PLAN), "available": 2 * GIGA})
    assert not small.fits and "fewer images at a time" in optimisation_text(small)


def test_one_image_and_some(monkeypatch: pytest.MonkeyPatch) -> None:
    posed: list[int] = []
    monkeypatch.setattr(optimisation, "descend", lambda problem, *_, **__: iter([problem] * 100))
    monkeypatch.setattr(optimisation, "peak_of", lambda step, device: 100.0 + 7.0 * step())
    monkeypatch.setattr(optimisation, "best", lambda step, *_: 2.0 + 0.5 * step())

    def pose(images: int) -> int:
        posed.append(images)
        return images

    assert measured(pose, 9, "cpu", 1.0) == ((107.0, 7.0), (2.5, 0.5))  # type: ignore[arg-type]
    assert posed == [1, 4]
    assert measured(pose, 1, "cpu", 1.0) == ((107.0, 107.0), (2.5, 2.5))  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["invert", "edit"])
def test_from_the_command_line(command: str, tmp_path: Path) -> None:
    options = ["format=json", "measure=0", "device=cpu", "steps=30", "matches=resnet_fashion"]
    done = call("plan", command, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["command"] == command and told["generator"] == "stylegan2_fashion"
    assert told["images"] == {"invert": 8, "edit": 4}[command]
    assert told["steps"] == {"invert": 30, "edit": 60}[command]  # and those of the control
    assert told["memory"][0] > 1e8 and min(told["seconds"]) >= 0.0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["measure=long"], "measure=long: expected seconds."),
        (["device=tpu"], "device=tpu: there is no such device here.\nChoose from cpu"),
        (["format=xml"], "format=xml: there is no such choice.\nChoose from text, json."),
        (["steps=0"], "steps=0: expected a whole number from 1 on."),
    ],
)
def test_mistakes(options: list[str], message: str, tmp_path: Path) -> None:
    done = call("plan", "invert", *options, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
