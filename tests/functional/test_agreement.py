"""The activation objective against a slow float64 implementation that really upsamples."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.functional.agreement import Agreement, TargetMaps, standardize
from rosetta_lab.functional.schedule import ramp

SIZES = {"a": (4, 4), "b": (6, 10), "c": (16, 16)}
CHANNELS = {"a": 5, "b": 4, "c": 3}
TARGETS = [
    ("a", (7, 7), 6),
    ("a", (4, 4), 3),
    ("b", (3, 12), 5),
    ("b", (8, 8), 2),
    ("c", (5, 5), 4),
]


def example(dtype: torch.dtype = torch.float64, n: int = 3):
    source = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)

    maps = {layer: 3.0 + 2.0 * draw(n, CHANNELS[layer], *SIZES[layer]) for layer in SIZES}
    statistics = {
        layer: (2.0 + draw(CHANNELS[layer]), 0.5 + draw(CHANNELS[layer]).square())
        for layer in SIZES
    }
    targets = [
        TargetMaps(
            layer,
            torch.randint(CHANNELS[layer], (pairs,), generator=source),
            draw(n, pairs, *size),
        )
        for layer, size, pairs in TARGETS
    ]
    return maps, statistics, targets


def slow(maps, statistics, targets, normalization: str) -> list[float]:
    """Eq. 6, one pair and one image at a time."""
    n = len(next(iter(maps.values())))
    result = []
    for image in range(n):
        values = []
        for target in targets:
            mean, var = statistics[target.layer]
            for place, channel in enumerate(target.channels.tolist()):
                a = (maps[target.layer][image, channel].double() - mean[channel].double()) / (
                    math.sqrt(float(var[channel]))
                )
                b = target.maps[image, place].double()
                size = [max(x, y) for x, y in zip(a.shape, b.shape, strict=True)]
                a, b = (
                    F.interpolate(x[None, None], size=size, mode="bilinear").flatten()
                    for x in (a, b)
                )
                if normalization == "cosine":
                    values.append(float(a @ b / (a.norm() * b.norm())))
                elif normalization == "dataset":
                    values.append(float((a * b).mean()))
                else:
                    values.append(-float((a - b).square().mean()))
        result.append(sum(values) / len(values))
    return result


@pytest.mark.parametrize("normalization", ["cosine", "dataset", "distance"])
@pytest.mark.parametrize("cached", [1, 2**19])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_slow_float64(
    normalization: str,
    dtype: torch.dtype,
    tolerance: float,
    cached: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rosetta_lab.functional.agreement.CACHED", cached)
    maps, statistics, targets = example(dtype)
    fast = Agreement(targets, statistics, SIZES, normalization)(maps)
    assert fast.tolist() == pytest.approx(
        slow(maps, statistics, targets, normalization), abs=tolerance
    )


@pytest.mark.parametrize("cached", [1, 2**19])  # an image at a time, all at once
@pytest.mark.parametrize("normalization", ["cosine", "dataset", "distance"])
def test_gradient(normalization: str, cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rosetta_lab.functional.agreement.CACHED", cached)
    maps, statistics, targets = example(n=2)
    agreement = Agreement(targets, statistics, SIZES, normalization)
    leaves = [maps[layer].requires_grad_() for layer in SIZES]

    def function(*values: Tensor) -> Tensor:
        return agreement(dict(zip(SIZES, values, strict=True)))

    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)


def test_own_maps_agree_fully_and_leave_no_gradient() -> None:
    maps, statistics, _ = example()
    targets = [
        TargetMaps(layer, torch.arange(CHANNELS[layer]), standardize(m, *statistics[layer]))
        for layer, m in maps.items()
    ]
    agreement = Agreement(targets, statistics, SIZES)
    leaves = {layer: m.clone().requires_grad_() for layer, m in maps.items()}
    value = agreement(leaves)
    assert value.tolist() == pytest.approx([1.0] * 3)
    gradients = torch.autograd.grad(value.sum(), list(leaves.values()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-12


def test_units_that_do_not_vary_neither_count_nor_break() -> None:
    maps, statistics, targets = example()
    maps["c"][:] = statistics["c"][0][:, None, None]  # constant at its mean
    statistics["c"] = (statistics["c"][0], torch.zeros(3, dtype=torch.float64))
    leaf = maps["c"].requires_grad_()
    value = Agreement(targets, statistics, SIZES)(maps)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    assert bool(value.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_without_pairs_the_agreement_is_zero() -> None:
    maps, statistics, _ = example()
    assert Agreement([], statistics, SIZES)(maps).tolist() == [0.0] * 3


def test_ramp() -> None:
    # Linear over the first 5 %, flat, cosine over the last 25 %.
    assert [ramp(t) for t in (0.0, 0.025, 0.05, 0.5, 0.75)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert ramp(0.875) == pytest.approx(0.5)
    assert ramp(0.9) == pytest.approx(0.5 - 0.5 * math.cos(math.pi * 0.4))
    assert ramp(1.0) == pytest.approx(0.0)
    assert [ramp(t, 0.0, 0.0) for t in (0.0, 0.3, 1.0)] == [1.0, 1.0, 1.0]
