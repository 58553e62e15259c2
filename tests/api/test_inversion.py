"""Inversions and edits from Python are those of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import call

import rosetta_lab as rl
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE, load_tensors

SAMPLES = PACKAGE / "data/samples"
HOW = {"steps": 3, "matches": "resnet_fashion", "batch_size": 2}


@pytest.fixture(scope="module")
def dictionary() -> rl.Dictionary:
    return rl.load("embedded")


@pytest.fixture(scope="module")
def inverted(dictionary: rl.Dictionary) -> rl.Inversions:
    files = [SAMPLES / "bag_orange.png", SAMPLES / "coat_red.png"]
    return rl.invert(files, dictionary, **HOW)


def test_the_command_finds_the_same(inverted: rl.Inversions, tmp_path: Path) -> None:
    words = [f"{key}={value}" for key, value in HOW.items()]
    done = call("invert", *words, "trainer.accelerator=cpu", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for place, name in enumerate(("bag_orange", "coat_red")):
        stored = load_tensors(next(tmp_path.glob(f"run/results/{name}*/latent.safetensors")))[0]
        torch.testing.assert_close(
            inverted.latents[place, None], stored["latent"], atol=1e-4, rtol=0
        )


def test_what_an_inversion_holds(inverted: rl.Inversions) -> None:
    assert inverted.images.shape == inverted.targets.shape == (2, 3, 64, 64)
    assert inverted.space == "w" and len(inverted.latents) == 2
    mse = (inverted.images - inverted.targets).square().mean(dim=(1, 2, 3))
    expected = (-10.0 * mse.log10()).tolist()
    assert [row["psnr"] for row in inverted.figures] == pytest.approx(expected, abs=1e-3)
    assert inverted.curves["total"].shape == (2, 3)
    assert "2 inversions in w" in repr(inverted) and len(inverted.show().axes) == 4


def test_inversions_are_edited(inverted: rl.Inversions) -> None:
    edited = rl.edit(inverted, rl.Shift(dx=0.25), steps=3, matches="resnet_fashion")
    torch.testing.assert_close(edited.before, inverted.images, atol=1e-5, rtol=0)
    assert edited.images.shape == (2, 3, 64, 64) and edited.control is not None
    assert not torch.equal(edited.images, edited.before)
    assert len(edited.show().axes) == 6 and "2 edits" in repr(edited)


def test_generated_images_are_edited(dictionary: rl.Dictionary) -> None:
    edits = [rl.Shift(dx=0.25), rl.Zoom()]
    edited = rl.edit(
        dictionary, edits, seeds=[7], steps=2, matches="resnet_fashion", controls=False
    )
    assert edited.images.shape == (1, 3, 64, 64) and edited.control is None and edited.space == "z"


def test_misspelt_keys_are_told(dictionary: rl.Dictionary) -> None:
    with pytest.raises(RosettaError, match="stepps"):
        rl.invert(SAMPLES, dictionary, stepps=3)
    with pytest.raises(RosettaError, match="expected a whole number"):
        rl.invert(SAMPLES, dictionary, steps=0)
