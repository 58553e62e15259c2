"""Where a search begins, and what is said where it does not move."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from commands import call
from small_generator import generator, statistics  # noqa: F401  fixtures
from torch import Tensor, nn
from toy import ToyModel

from rosetta_lab.data.images import ImageFolder
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE
from rosetta_lab.invert.latent_code import LatentCode, default_start
from rosetta_lab.invert.objective import Objective
from rosetta_lab.invert.optimise import optimise
from rosetta_lab.invert.problem import Inversion, one_batch
from rosetta_lab.invert.results import Results
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.dcgan import DCGAN

# The fixtures of the small generator are imported by name.
# ruff: noqa: F811


def dead_dcgan() -> DCGAN:
    """Like trained ones: z = 0 wakes no unit of the first layer, a z of the prior does."""
    torch.manual_seed(0)
    small = DCGAN(8, (16, 8), (4, 4, 4)).eval().requires_grad_(False)
    norm = small.main[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.bias.fill_(-0.05)
    return small


def samples(size: int) -> ImageFolder:
    return ImageFolder(PACKAGE / "data" / "samples", size)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_a_generator_whose_w_is_z_starts_at_random(space: str) -> None:
    small, images = dead_dcgan(), samples(16)
    batch = one_batch([images[0], images[1]])
    code, objective = Inversion(small, None, None, {"l2": 1.0}, space=space)(batch)
    assert code.value.norm(dim=1).min() > 0.5
    found = optimise((code, objective), steps=20, lr=0.05)
    assert bool((found.curves["l2"][:, -1] < found.curves["l2"][:, 0]).all())
    assert not any(found.still)


def test_other_generators_start_at_their_mean(generator) -> None:
    assert [default_start(generator, space) for space in ("z", "w", "w+")] == [
        "random", "mean", "mean",
    ]  # fmt: skip
    layers = [[False, 2, 2], [True, 2, 1]]
    small = BigGANDeep(8, 4, 8, 2, layers, attention_layer_position=1, n_stats=3).eval()
    assert {default_start(small, space) for space in ("z", "w", "w+")} == {"mean"}


def test_what_does_not_move_is_said_and_is_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small, images = dead_dcgan(), samples(16)
    batch = one_batch([images[0]])
    problem = Inversion(small, None, None, {"l2": 1.0}, start="mean")(batch)
    with caplog.at_level(logging.WARNING, "rosetta_lab"):
        found = optimise(problem, steps=3)
    assert found.still == [True] and len(set(found.curves["l2"][0].tolist())) == 1
    assert "1 of 1 images did not change at all" in caplog.text
    results = Results(tmp_path)
    results.write(batch, found, [{"psnr": 10.0}])
    assert not results.done(batch.ids[0])
    assert "no gradient" in results.failure(batch.ids[0])
    (tmp_path / "failures" / f"{batch.ids[0]}.txt").write_bytes(b"\xff")
    with pytest.raises(RosettaError, match="cannot be read"):
        results.failure(batch.ids[0])
    moved = optimise(Inversion(small, None, None, {"l2": 1.0})(batch), steps=3)
    results.write(batch, moved, [{"psnr": 10.0}])
    assert results.done(batch.ids[0])
    assert results.failure(batch.ids[0]) == "it was not tried"  # that is: there is none


def test_one_image_that_stays_does_not_hide_the_others() -> None:
    small, images = dead_dcgan(), samples(16)
    code, objective = Inversion(small, None, None, {"l2": 1.0})(one_batch([images[0], images[1]]))
    code.value.data[0] = 0.0
    assert optimise((code, objective), steps=2).still == [True, False]


def test_the_command_tells_what_did_not_move(tmp_path: Path) -> None:
    done = call(
        "invert", "matches=none", "~perceptual", "loss.perceptual=0", "~judges.lpips_fashion",
        "~judges.judge_fashion", f"images={PACKAGE / 'data/samples/coat_red.png'}", "steps=2",
        "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "hydra.run.dir=run",
        cwd=tmp_path,
    )  # fmt: skip
    said = done.stdout + done.stderr  # it is at the mean, and nothing but that is asked of it
    assert done.returncode == 1 and "Traceback" not in said
    assert "coat_red: the loss has no gradient where it starts" in said
    assert "1 of 1 images could not be inverted" in said
    assert "start: mean" in (tmp_path / "run" / "settings.yaml").read_text()


def test_nothing_to_minimise_is_refused(generator) -> None:
    code = LatentCode(generator, "z", torch.ones(1, 8).double(), torch.eye(3).double()[:1])
    with pytest.raises(RosettaError, match="nothing to minimise"):
        optimise((code, Objective({})), steps=1)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_an_optimised_class_starts_at_the_given_one(classes: int) -> None:
    layers = [[False, 2, 2], [True, 2, 1]]
    small = BigGANDeep(8, 4, 8, classes, layers, attention_layer_position=1, n_stats=3).eval()
    c = torch.eye(classes)[[1, 0]]
    code = LatentCode(small, "z", torch.zeros(2, 4), c, optimize_class=True)
    weights = code.class_weights
    assert weights is not None
    assert weights[[0, 1], [1, 0]].tolist() == pytest.approx([0.95, 0.95], abs=0.03)
    assert weights.sum(dim=1).tolist() == pytest.approx([1.0, 1.0], rel=1e-4) and bool(
        (weights > 0).all()
    )
    (gradient,) = torch.autograd.grad(code.images().sum(), [code.class_logits])
    assert bool(gradient.abs().amax(dim=1).min() > 0)


class Certain(ToyModel):
    """Sees the class 2 in everything, and counts what it is shown."""

    shown = 0

    def forward(self, images: Tensor) -> Tensor:
        self.shown += len(images)
        return torch.tensor([0.0, 0.0, 30.0]).expand(len(images), 3)


def test_classes_are_inferred_only_of_images_that_come_without(generator) -> None:
    classifier = Certain()
    inversion = Inversion(generator, None, None, {"l2": 1.0}, classifier=classifier)
    images = torch.rand(4, 3, 8, 8)
    weights = inversion.class_weights([0, None, 1, None], images)
    assert weights is not None and weights.argmax(dim=1).tolist() == [0, 2, 1, 2]
    assert classifier.shown == 2
    assert inversion.class_weights([0, 1, 1, 0], images).argmax(dim=1).tolist() == [0, 1, 1, 0]
    assert classifier.shown == 2
    forced = Inversion(generator, None, None, {"l2": 1.0}, label="inferred", classifier=classifier)
    assert forced.class_weights([0, None, 1, 0], images).argmax(dim=1).tolist() == [2] * 4
    alone = Inversion(generator, None, None, {"l2": 1.0})
    with pytest.raises(RosettaError, match="no classifier to infer them"):
        alone.class_weights([0, None], images[:2])
    with pytest.raises(RosettaError, match="expected 0 to 2"):
        alone.class_weights([0, 3], images[:2])
