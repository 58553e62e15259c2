"""Inversion on a toy generator and on the embedded zoo."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import lightning as L
import pytest
import torch
import toy
from commands import process
from hydra.utils import instantiate
from omegaconf import OmegaConf
from small_generator import CHANNELS, LAYERS, SIZES, generator, statistics  # noqa: F401  fixtures
from torch import Tensor
from torch.utils.data import DataLoader

from rosetta_lab.data.fashion.readings import read_scenes
from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.functional.agreement import Agreement, TargetMaps, standardize
from rosetta_lab.functional.schedule import ramp
from rosetta_lab.invert.latent_code import LatentCode, MeanLatents, random_z, seed_of, slots
from rosetta_lab.invert.module import InversionModule
from rosetta_lab.invert.objective import Evaluation, Objective
from rosetta_lab.invert.optimise import optimise
from rosetta_lab.invert.units import RosettaUnits
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.perceptual import LayerPerceptual

# The fixtures of the small generator are imported by name.
# ruff: noqa: F811

WEIGHTS = {"activation": 1.0, "perceptual": 1.0, "l2": 1.0, "latent_l2": 0.1}


def latents(generator: StyleGAN2, names: list[str], space: str = "w") -> LatentCode:
    c = torch.eye(3, dtype=torch.float64)[torch.tensor([len(name) % 3 for name in names])]
    z = random_z(generator, names, seed=0)
    return LatentCode(generator, space, z if space == "z" else generator.map(z, c), c)


def objective(generator, statistics, names, weights=None) -> Objective:
    """Maps and pixels of other random images as targets."""
    other = latents(generator, [f"target of {name}" for name in names])
    with torch.no_grad():
        images, maps = other.images_and_maps(LAYERS)
    targets = [
        TargetMaps(layer, torch.arange(CHANNELS), standardize(maps[layer], *statistics[layer]))
        for layer in LAYERS
    ]
    perceptual = LayerPerceptual("toy", toy.ToyModel(), ["copy", "mix"]).double()
    return Objective(weights or WEIGHTS, images, Agreement(targets, statistics, SIZES), perceptual)


@pytest.mark.parametrize(
    "space", ["w", *(pytest.param(x, marks=pytest.mark.slow) for x in ("z", "w+"))]
)
def test_batch_of_eight_equals_eight_single_runs(generator, statistics, space) -> None:
    names = [f"{'x' * i}{i}" for i in range(8)]

    def run(some: list[str]) -> Tensor:
        problem = latents(generator, some, space), objective(generator, statistics, some)
        return optimise(problem, steps=30, lr=0.05).latent

    together = run(names)
    alone = torch.cat([run([name]) for name in names])
    assert float((together - alone).abs().max()) < 1e-6
    moved = together - latents(generator, names, space).value.detach()
    assert float(moved.abs().max()) > 0.05


def test_loss_falls_and_curves_are_complete(generator, statistics) -> None:
    names = ["a", "bb"]
    problem = latents(generator, names), objective(generator, statistics, names)
    seen: list[int] = []
    listeners = [lambda step, _: seen.append(step)]
    result = optimise(problem, steps=60, lr=0.05, listeners=listeners)
    assert seen == list(range(60))
    assert {name: tuple(curve.shape) for name, curve in result.curves.items()} == dict.fromkeys(
        (*WEIGHTS, "total"), (2, 60)
    )
    assert bool((result.curves["total"][:, -1] < result.curves["total"][:, 0] - 0.05).all())
    assert float(result.images.min()) >= 0.0
    assert float(result.images.max()) <= 1.0


def test_learning_rate_follows_the_schedule(generator) -> None:
    """Where the gradient stays the same, each of Adam's steps is as long as its learning rate."""
    code = latents(generator, ["a"])

    def slope(code: LatentCode) -> Evaluation:
        return Evaluation(code.images(), {}, 3.0 * code.value.sum(dim=1))

    seen = [code.value.detach().clone()]
    listeners = [lambda *_: seen.append(code.value.detach().clone())]
    optimise((code, slope), 20, 0.3, rampup=0.2, rampdown=0.5, listeners=listeners)
    went = -torch.stack(seen).diff(dim=0)  # (steps, 1, 12)
    expected = [0.3 * ramp((step + 0.5) / 20, 0.2, 0.5) for step in range(20)]
    assert went.mean(dim=(1, 2)).tolist() == pytest.approx(expected, rel=1e-6)
    assert float(went[0].min()) == pytest.approx(0.3 * 0.125)  # half a step of four that it rises


@pytest.mark.parametrize(("space", "optimize_class"), [("z", True), ("z", False), ("w+", False)])
def test_nothing_but_the_latents_moves(generator, statistics, space, optimize_class) -> None:
    start = latents(generator, ["a"], space)
    code = LatentCode(generator, space, start.value, start.c, optimize_class=optimize_class)
    networks = [generator, objective(generator, statistics, ["a"]).perceptual]
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    classes = None if code.class_logits is None else code.class_logits.detach().clone()
    found = optimise((code, objective(generator, statistics, ["a"])), steps=2)
    for network, values in zip(networks, before, strict=True):
        assert all(torch.equal(v, values[k]) for k, v in network.state_dict().items())
        assert all(p.grad is None or not p.grad.any() for p in network.parameters())
    assert not torch.equal(found.latent, start.value)
    assert (classes is not None) == optimize_class
    if classes is not None:
        assert not torch.equal(code.class_logits, classes)


def test_progress_names_the_batch(generator, statistics, capfd) -> None:
    def pose(batch: Tensor):
        name = "x" * int(batch)
        return latents(generator, [name]), objective(generator, statistics, [name])

    module = InversionModule(pose, steps=2, progress=True)
    trainer = L.Trainer(
        accelerator="cpu", logger=False, inference_mode=False, enable_progress_bar=False
    )
    batches = DataLoader(torch.arange(3), batch_size=None)
    assert len(trainer.predict(module, batches) or []) == 3
    shown = capfd.readouterr().err
    assert all(f"batch {number} of 3" in shown for number in (1, 2, 3))


def test_right_latent_stays(generator, statistics) -> None:
    """Targets from the generator's own maps, the right latent as the start: no gradient.

    A step later Adam scales rounding errors up to steps of the learning rate; they end where they
    began.
    """
    code = latents(generator, ["a", "bb"])
    start = code.value.detach().clone()
    with torch.no_grad():
        maps = code.maps(LAYERS)
    targets = [
        TargetMaps(layer, torch.arange(CHANNELS), standardize(maps[layer], *statistics[layer]))
        for layer in LAYERS
    ]
    only = Objective({"activation": 1.0}, agreement=Agreement(targets, statistics, SIZES))
    gradients, moved = [], []

    def look(*_: object) -> None:
        gradients.append(float(code.value.grad.abs().max()))
        moved.append(float((code.value.detach() - start).abs().max()))

    curve = optimise((code, only), steps=100, lr=0.1, listeners=[look]).curves["activation"]
    assert gradients[0] < 1e-12
    assert moved[0] < 1e-6
    assert curve[:, 0].tolist() == pytest.approx([-1.0, -1.0], abs=1e-12)
    assert moved[-1] < 1e-3
    assert curve[:, -1].tolist() == pytest.approx([-1.0, -1.0], abs=1e-6)


@pytest.mark.parametrize("part", WEIGHTS)
def test_weight_zero_removes_a_part(generator, statistics, part) -> None:
    code = latents(generator, ["a"])
    code.value.data += 0.3
    full = objective(generator, statistics, ["a"])(code)
    less = objective(generator, statistics, ["a"], WEIGHTS | {part: 0.0})(code)
    assert part not in less.parts
    difference = full.total - less.total
    assert difference.item() == pytest.approx(WEIGHTS[part] * full.parts[part].item())


def test_parts_are_what_they_say(generator, statistics) -> None:
    weights = {"l1": 1.0, "l2": 1.0, "latent_l1": 1.0, "latent_l2": 1.0}
    problem = objective(generator, statistics, ["a"], weights)
    code = latents(generator, ["a"])
    code.value.data[0, 0] += 0.5
    parts = problem(code).parts
    difference = (code.images() - problem.images).flatten()
    assert parts["l1"].item() == pytest.approx(difference.abs().mean().item())
    assert parts["l2"].item() == pytest.approx(difference.square().mean().item())
    assert parts["latent_l1"].item() == pytest.approx(0.5 / 12)
    assert parts["latent_l2"].item() == pytest.approx(0.25 / 12)


def test_mean_latents(generator) -> None:
    means = MeanLatents(generator, samples=3000, seed=5)
    z = random_z(generator, [str(i) for i in range(3000)], seed=5)
    c = torch.eye(3, dtype=torch.float64)
    by_hand = [generator.map(z, c[k].expand(3000, 3))[:, 0].mean(dim=0) for k in range(3)]
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.25, 0.75, 0.0]], dtype=torch.float64)
    mixed = means.weighted(weights, 2)
    torch.testing.assert_close(mixed[0], by_hand[1])
    torch.testing.assert_close(mixed[1], 0.25 * by_hand[0] + 0.75 * by_hand[1])
    assert slots(generator) == 4


def test_a_mean_does_not_depend_on_how_many_are_mapped_at_a_time(generator, monkeypatch) -> None:
    whole = MeanLatents(generator, samples=10).of_class(1)
    monkeypatch.setattr("rosetta_lab.invert.latent_code._CHUNK", 3)
    torch.testing.assert_close(MeanLatents(generator, samples=10).of_class(1), whole)


def test_class_can_be_optimised(generator) -> None:
    c = torch.tensor([[0.8, 0.1, 0.1]], dtype=torch.float64)
    code = LatentCode(generator, "z", random_z(generator, ["a"], 0), c, optimize_class=True)
    code.images().mean().backward()
    assert code.class_logits is not None
    assert code.class_logits.grad is not None
    assert float(code.class_logits.grad.abs().max()) > 0.0
    assert code.class_weights is not None
    assert float(code.class_weights.sum()) == pytest.approx(1.0)


def test_seeds_belong_to_names() -> None:
    """The same everywhere and always: runs are gone on with and repeated elsewhere."""
    seeds = [seed_of(seed, name) for seed in (0, 1) for name in ("a", "b")]
    assert len(set(seeds)) == 4
    assert seeds == [232140491835332, 138103573232148, 210133832892816, 240392441834506]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"activation": 1.0}, "nothing to compare with"),
        ({"perceptual": 1.0}, "nothing to compare with"),
        ({"style": 1.0}, "there is no part 'style'"),
    ],
)
def test_mistakes(weights, message) -> None:
    with pytest.raises(RosettaError, match=message):
        Objective(weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "steps", "share"),
    [(20, 60, 0.35), pytest.param(100, 200, 0.5, marks=pytest.mark.slow)],
)
def test_own_images_come_back_by_activation_alone(count: int, steps: int, share: float) -> None:
    """From the mean w over all classes: class, centre and hue, and all three of one image.

    A network that no loss knows reads the class.
    """
    mined = load_mined("embedded")
    pairs = matched_pairs(mined.dictionary, "all")
    units = RosettaUnits(mined.dictionary, mined.folder, mined.models([*pairs]), pairs)
    judge = instantiate(OmegaConf.load(asset_root() / "conf/disc/judge_fashion.yaml"))
    c = torch.eye(10)[torch.arange(count) % 10]
    z = random_z(mined.generator, [f"own {i}" for i in range(count)], seed=7)
    mean = MeanLatents(mined.generator).weighted(torch.full((1, 10), 0.1), 1)
    with torch.no_grad():
        targets = LatentCode(mined.generator, "z", z, c).images().clamp(0.0, 1.0)

    def pose(images: Tensor) -> tuple[LatentCode, Objective]:
        code = LatentCode(mined.generator, "w", mean.expand(len(images), -1))
        return code, Objective(
            {"activation": 1.0}, agreement=units.agreement(units.targets(images))
        )

    def right(images: Tensor) -> Tensor:
        """Whether class, centre and hue (N, 3) are the targets'."""
        asked, reached = read_scenes(targets), read_scenes(images)
        with torch.no_grad():
            same_class = judge(images).argmax(dim=1) == judge(targets).argmax(dim=1)
        near = (reached.centre - asked.centre).abs().amax(dim=1) < 0.05
        turned = (reached.hue - asked.hue + 180.0) % 360.0 - 180.0
        return torch.stack([same_class, near, turned.abs() < 30.0], dim=1)

    found = [optimise(pose(images), steps=steps, lr=0.1) for images in targets.split(25)]
    for inverted in found:
        curve = inverted.curves["total"]
        assert bool((curve[:, -1] < curve[:, 0]).all())
    before = right(torch.cat([inverted.starts for inverted in found]))
    after = right(torch.cat([inverted.images for inverted in found]))
    print(f"class, centre, hue: {after.double().mean(dim=0)}; all three: {after.all(dim=1).sum()}")
    assert float(after.double().mean(dim=0).min()) > 0.5
    assert float(before.all(dim=1).double().mean()) < 0.1
    assert float(after.all(dim=1).double().mean()) > share


@pytest.mark.slow
def test_without_arguments(tmp_path: Path) -> None:
    """``python -m rosetta_lab.invert``: under three minutes, all figures in a table, and a page."""
    started = time.monotonic()
    done = process("invert", cwd=tmp_path, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 180.0
    (page,) = tmp_path.glob("outputs/invert/*/index.html")
    with (page.parent / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert sum(float(row["psnr"]) for row in rows) / 8 > 20.0
    shown = page.read_text()
    assert all(row["id"] in shown for row in rows)
    assert len(list(page.parent.glob("results/*/latent.safetensors"))) == 8
