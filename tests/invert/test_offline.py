"""What is said where weights would have to be downloaded, and no network is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import call

from rosetta_lab.errors import RosettaError, advising
from rosetta_lab.files import PACKAGE

QUICK = ["steps=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
PHOTO = f"images={PACKAGE / 'data/samples/coat_red.png'}"


@pytest.mark.parametrize(
    ("command", "arguments", "advice"),
    [
        pytest.param(
            "invert", ["perceptual=lpips_vgg", PHOTO], "perceptual.weights=PATH, or zoo=embedded",
            marks=pytest.mark.slow,
        ),
        ("invert", ["zoo=paper", PHOTO], "perceptual.weights=PATH, or zoo=embedded"),
        pytest.param(
            "invert", ["zoo=paper", PHOTO, "loss.perceptual=0", "matches=clip_fashion"],
            "judges.lpips_vgg.weights=PATH, or zoo=embedded", marks=pytest.mark.slow,
        ),
        ("edit", ["perceptual=lpips_vgg", PHOTO], "perceptual.weights=PATH, or zoo=embedded"),
    ],
)  # fmt: skip
def test_the_advice_names_a_key_that_there_is(
    command: str, arguments: list[str], advice: str, tmp_path: Path
) -> None:
    done = call(command, *arguments, *QUICK, "hydra.run.dir=run", cwd=tmp_path, ROSETTA_OFFLINE="1")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert f"pass {advice}." in said
    key = advice.split("=")[0]
    again = call(
        command, *arguments, *QUICK, f"{key}=nowhere.pth", "hydra.run.dir=run", cwd=tmp_path
    )
    assert "no such file: nowhere.pth" in again.stdout + again.stderr  # the key was taken


def test_other_errors_are_as_they_were() -> None:
    with (
        pytest.raises(RosettaError, match=r"^Pass a\.b=PATH, or gen\.weights=PATH\.$"),
        advising("a.b=PATH"),
    ):
        raise RosettaError("Pass weights=PATH, or gen.weights=PATH.")
    with pytest.raises(ZeroDivisionError), advising("a.b=PATH"):
        raise ZeroDivisionError
