"""Linear CKA, mutual neighbours and their null: against float64 sums, scipy and planted data."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from rosetta_lab.functional.alignment import aligned, gram, neighbourhood, standardised


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def straightforward_cka(x: Tensor, y: Tensor) -> float:
    """|X^T Y|^2 / (|X^T X| |Y^T Y|) of centred units (Kornblith et al., 2019), in float64."""
    x, y = (v.double() - v.double().mean(dim=0) for v in (x, y))
    cross = (x.t() @ y).square().sum()
    return float(cross / ((x.t() @ x).norm() * (y.t() @ y).norm()))


def cka(x: Tensor, y: Tensor) -> float:
    return aligned(gram(standardised(x)), gram(standardised(y)), 1).score


@pytest.mark.parametrize("widths", [(5, 9), (60, 200)])
def test_cka_is_the_formula(widths: tuple[int, int]) -> None:
    shared = noise(50, 4)
    x, y = (
        shared @ noise(4, width, seed=i + 1) + noise(50, width, seed=i + 3)
        for i, width in enumerate(widths)
    )
    x[:, 0] = 7.0  # a constant unit tells nothing
    scaled = [(v / v.std(dim=0, correction=0)) for v in (x[:, 1:], y)]
    assert cka(1e3 + 5.0 * x, y) == pytest.approx(straightforward_cka(*scaled), abs=1e-5)
    assert 0.05 < cka(x, y) < 0.95


def test_cka_of_a_turned_representation_is_one() -> None:
    values = standardised(noise(40, 6))
    turn = torch.linalg.qr(noise(6, 6, seed=1)).Q
    assert aligned(gram(values), gram(values @ turn), 1).score == pytest.approx(1.0, abs=1e-5)


def test_mutual_neighbours_are_those_of_scipy() -> None:
    x, y, k = noise(60, 7), noise(60, 3, seed=1), 6
    y[:, :2] += 2.0 * x[:, :2]
    near = []
    for values in (x, y):
        distance = torch.from_numpy(cdist(values.numpy(), values.numpy(), "cosine"))
        near.append(distance.fill_diagonal_(torch.inf).argsort(dim=1)[:, :k].tolist())
    shared = sum(len(set(a) & set(b)) for a, b in zip(*near, strict=True)) / (60 * k)
    found = aligned(neighbourhood(x, k), neighbourhood(y, k), 1).score
    assert found == pytest.approx(shared, abs=1e-6)
    assert k / 59 < found < 1.0


def test_chance_of_mutual_neighbours_is_known() -> None:
    """Independent neighbours meet in k / (n - 1)."""
    first, second = (neighbourhood(noise(200, 5, seed=s), 10) for s in (0, 1))
    assert aligned(first, second, 200).chance == pytest.approx(10 / 199, abs=0.003)


def test_calibration_takes_away_what_grows_with_the_width() -> None:
    """Representations that have nothing in common: CKA of wide ones is high, none is calibrated."""
    raw, calibrated, p = {}, {}, {}
    for width in (8, 800):
        of_seeds = []
        for seed in range(8):
            x, y = (standardised(noise(64, width, seed=2 * seed + i)) for i in (0, 1))
            of_seeds.append(aligned(gram(x), gram(y), 99, seed))
        raw[width] = sum(x.score for x in of_seeds) / 8
        calibrated[width] = sum(x.calibrated for x in of_seeds) / 8
        p[width] = [x.p for x in of_seeds]
    assert raw[8] < 0.25 and raw[800] > 0.85
    assert max(calibrated.values()) < 0.02
    assert all(0.1 < sum(values) / 8 < 0.9 for values in p.values())


def test_what_is_shared_is_found() -> None:
    shared = noise(64, 3)
    x, y = (
        standardised(shared @ noise(3, 200, seed=i + 1) + noise(64, 200, seed=i + 3))
        for i in (0, 1)
    )
    found = aligned(gram(x), gram(y), 99)
    assert found.p == pytest.approx(0.01)
    assert found.calibrated == pytest.approx(
        (found.score - found.threshold) / (1 - found.threshold)
    )
    assert found.chance < found.threshold < found.score and found.calibrated > 0.2
    assert aligned(gram(x), gram(x), 99).calibrated == pytest.approx(1.0)


def test_the_threshold_is_the_permutations_quantile() -> None:
    x, y = (gram(standardised(noise(30, 4, seed=s))) for s in (0, 1))
    found, source = aligned(x, y, 39, seed=5, alpha=0.1), torch.Generator().manual_seed(5)
    every = [found.score]
    for _ in range(39):
        order = torch.randperm(30, generator=source).tolist()
        moved = sum(float(x[i] @ y[order[i]][order]) for i in range(30))
        every.append(moved)
    above = sum(value > found.threshold + 1e-6 for value in every)
    assert above == math.floor(0.1 * 40)
    reached = sum(value >= found.score - 1e-7 for value in every)
    assert found.p == pytest.approx(reached / 40)
