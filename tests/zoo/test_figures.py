"""Figures of trained models, and what the shipped ones reach."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from scipy.linalg import sqrtm

from rosetta_lab.data.fashion.scenes import CLASSES, FashionScenes
from rosetta_lab.files import PACKAGE, asset_root
from rosetta_lab.functional.generative import frechet_distance, precision_recall, spread
from rosetta_lab.models.base import Generator
from rosetta_lab.models.load import load_generator
from rosetta_lab.zoo import evaluate, figures
from rosetta_lab.zoo.generator_figures import ClassJudge, generator_figures, judge_samples

SHIPPED = tuple(
    f"{name}_fashion"
    for name in ("resnet", "dino_resnet", "dino_vit", "mae", "clip", "lpips", "judge")
)
GENERATORS = ("stylegan2_fashion", "biggan_fashion")
WEIGHTS = PACKAGE / "zoo" / "weights"


@pytest.fixture(scope="module")
def train() -> FashionScenes:
    return FashionScenes("train", seed=1_000_000)


@pytest.fixture(scope="module")
def test_scenes() -> FashionScenes:
    return FashionScenes("test", seed=0)


def test_frechet_distance_against_scipy() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(500, 5), torch.randn(400, 5) @ torch.randn(5, 5) + 1.0
    covariances = [torch.cov(x.double().T).numpy() for x in (a, b)]
    expected = (a.mean(0) - b.mean(0)).square().sum() + sum(c.trace() for c in covariances)
    expected -= 2.0 * sqrtm(covariances[0] @ covariances[1]).real.trace()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_precision_and_recall_of_known_sets() -> None:
    torch.manual_seed(0)
    both = torch.randn(600, 2)
    far = torch.randn(600, 2) + 100.0
    assert precision_recall(both, both) == (1.0, 1.0)
    assert precision_recall(both, far) == (0.0, 0.0)
    # Samples from one of two modes are all real, but miss half of what there is.
    precision, recall = precision_recall(torch.cat([both, far]), torch.randn(1200, 2))
    assert precision > 0.9 and 0.4 < recall < 0.52


def test_spread_shrinks_when_modes_are_lost() -> None:
    torch.manual_seed(0)
    points = torch.randn(300, 4)
    assert spread(points * 0.5) == pytest.approx(0.5 * spread(points), rel=1e-4)


class Replay(Generator):
    """A "generator" that shows real test garments of the class that it is asked for."""

    def __init__(self, scenes: FashionScenes, variety: int) -> None:
        super().__init__(z_dim=4, num_classes=10, resolution=64)
        self.scenes = scenes
        self.garments = [(scenes.labels == c).nonzero().flatten()[:variety] for c in range(10)]

    def map(self, z: torch.Tensor, c: torch.Tensor | None = None, *_: Any) -> torch.Tensor:
        assert c is not None
        return torch.cat([z, c], dim=1)

    def synthesize(self, latent: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        pick = (latent[:, 0].abs() * 1e4).long()
        rows = [self.garments[c] for c in latent[:, 4:].argmax(dim=1).tolist()]
        indices = [int(r[int(p) % len(r)]) for r, p in zip(rows, pick, strict=True)]
        return self.scenes.scenes(indices, seed=7).image * 2.0 - 1.0


@pytest.mark.slow
def test_generator_figures_tell_variety_from_collapse(
    test_scenes: FashionScenes, train: FashionScenes
) -> None:
    judge = evaluate.load_disc("resnet_fashion")
    varied, collapsed = (
        generator_figures(Replay(test_scenes, variety), judge, test_scenes, 500, train)
        for variety in (80, 1)
    )
    assert varied["class_agreement"] > 0.8
    assert varied["fid"] < 2.0 * varied["fid_of_real_scenes"] < collapsed["fid"]
    assert collapsed["recall"] < 0.5 * varied["recall"]
    assert collapsed["diversity_within_class"] < 0.1 < 0.8 < varied["diversity_within_class"]


# What is shipped


@pytest.mark.parametrize("name", [*SHIPPED, *GENERATORS])
def test_card_names_command_data_and_figures(name: str) -> None:
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    assert card["command"].startswith(f"python -m rosetta_lab.zoo.train model={name}")
    assert {"data", "seed", "images_seen", "training_seconds", "sha256", "figures"} <= set(card)
    model = shipped_generator(name) if name in GENERATORS else evaluate.load_disc(name)
    assert model.sha256 == card["sha256"]


def shipped_generator(name: str) -> Generator:
    config = OmegaConf.load(asset_root() / "conf" / "gen" / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    return load_generator(config)


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_samples_are_recognised_as_the_card_says(name: str) -> None:
    """Of 500, within three standard deviations of the share that the card has of 10,000."""
    judge = ClassJudge(evaluate.load_disc("resnet_fashion"))
    found, asked = judge_samples(shipped_generator(name), judge, 500, seed=1)
    share = figures.accuracy(found[:, -len(CLASSES) :], asked)
    expected = card_figures(name)["class_agreement"]
    assert abs(share - expected) < 3.0 * math.sqrt(expected * (1.0 - expected) / 500)


def test_shipped_weights_fit_the_package() -> None:
    assert sum(f.stat().st_size for f in Path(WEIGHTS).iterdir()) < 25e6


def test_classifier_reaches_its_bar(test_scenes: FashionScenes) -> None:
    model = evaluate.load_disc("resnet_fashion")
    assert figures.class_accuracy(model, test_scenes, 500)["class_accuracy"] > 0.85


def test_clip_is_as_its_card_says(test_scenes: FashionScenes) -> None:
    found = figures.zero_shot(evaluate.load_disc("clip_fashion"), test_scenes, 500)
    for key, value in found.items():
        assert value == pytest.approx(card_figures("clip_fashion")[key], abs=0.06)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("dino_resnet_fashion", marks=pytest.mark.slow),
        pytest.param("dino_vit_fashion", marks=pytest.mark.slow),
        pytest.param("mae_fashion", marks=pytest.mark.slow),
    ],
)
def test_linear_probe_is_near_its_card(
    name: str, test_scenes: FashionScenes, train: FashionScenes
) -> None:
    """A probe on 6,000 training scenes instead of 60,000 has to come close, and not pass it."""
    model = evaluate.load_disc(name)
    found = figures.linear_probe(model, test_scenes, 500, train, 6_000)["linear_probe"]
    card = card_figures(name)["linear_probe"]
    assert card - 0.15 < found < card + 0.05


def card_figures(name: str) -> dict[str, float]:
    """The figures that a shipped model's card records."""
    figures_of: dict[str, float] = json.loads((WEIGHTS / f"{name}.json").read_text())["figures"]
    return figures_of
