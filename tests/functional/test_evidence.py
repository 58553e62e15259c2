"""q-values on planted data, errors by recomputation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from planted_units import CONTENT, PLACES, Tables, joined, planted, smooth
from scipy import stats
from torch import Tensor

from rosetta_lab.functional.evidence import (
    PairSums,
    jaccard,
    jackknife_correlations,
    pair_correlations,
    q_values,
    score_threshold,
)
from rosetta_lab.functional.matching import best_buddies, neighbours


def slow_q(targets: list[float], decoys: list[list[float]]) -> list[float]:
    """By trying every threshold on every target."""
    pool = [x for draw in decoys for x in draw]

    def rate(t: float) -> float:
        return (1 + sum(x >= t for x in pool)) / (len(decoys) * sum(x >= t for x in targets))

    return [min(1.0, *(rate(t) for t in targets if t <= own)) for own in targets]


scores = some.lists(some.sampled_from([-0.5, -0.1, 0.0, 0.1, 0.2, 0.3, 0.7]) | some.floats(-1, 1))


@settings(deadline=None, max_examples=200)
@given(targets=scores, decoys=some.lists(scores, min_size=1, max_size=3))
def test_q_against_trying_every_threshold(targets, decoys) -> None:
    """Ties included: their q is the same, and none is out of order."""
    own = torch.tensor(targets, dtype=torch.float64)
    q = q_values(own, [torch.tensor(x, dtype=torch.float64) for x in decoys])
    assert q.tolist() == pytest.approx(slow_q(targets, decoys))
    for rate in (0.05, 0.5, 1.0):
        passing = [t for t, x in zip(targets, slow_q(targets, decoys), strict=True) if x <= rate]
        assert score_threshold(own, q, rate) == (min(passing) if passing else None)


def test_q_by_hand() -> None:
    targets = torch.tensor([0.9, 0.8, 0.3, 0.8])
    assert q_values(targets, [torch.tensor([0.3, 0.1])]).tolist() == [1 / 3, 1 / 3, 1 / 2, 1 / 3]
    three = [torch.tensor([0.3, 0.1]), torch.tensor([0.2]), torch.tensor([])]
    assert q_values(targets, three).tolist() == pytest.approx([1 / 9, 1 / 9, 2 / 12, 1 / 9])


@dataclass
class Match:
    """The paper's best buddies of one planted run, and those of its shuffles.

    Attributes:
        real: which best buddies are planted matches (P,).
        centred: their centred r (P,); ``raw`` their r.
        decoys: centred r of every shuffle's best buddies; ``raw_decoys`` their r.
        tables: what all of it was read from.
    """

    real: Tensor
    centred: Tensor
    raw: Tensor
    decoys: list[Tensor]
    raw_decoys: list[Tensor]
    tables: Tables


def mutual(table: torch.Tensor, k: int) -> torch.Tensor:
    """Which pairs are best buddies, as a table of bools."""
    every = [torch.ones(n, dtype=torch.bool) for n in table.shape]
    pairs = best_buddies(neighbours(table.clone(), k, *every, {}), k, k).pairs
    return torch.zeros(table.shape, dtype=torch.bool).index_put_(
        tuple(pairs.unbind(1)), torch.tensor(True)
    )


def match(seed: int) -> Match:
    found = joined(*planted(seed), draws=3)
    buddies, *shuffled = (mutual(x, 5) for x in (found.r, *found.shuffled))
    row, column = buddies.nonzero().unbind(1)
    return Match(
        (row // 2 == column // 2) & (row < CONTENT),
        found.centred[buddies],
        found.r[buddies],
        [c[d] for c, d in zip(found.shuffled_centred, shuffled, strict=True)],
        [r[d] for r, d in zip(found.shuffled, shuffled, strict=True)],
        found,
    )


@pytest.fixture(scope="module")
def runs() -> list[Match]:
    return [match(seed) for seed in range(20)]


@pytest.mark.parametrize("draws", [1, 3])
def test_planted_matches_are_kept_and_few_others(runs: list[Match], draws: int) -> None:
    """The paper's best buddies, kept where the q of their centred r is at most 5 %."""
    false, decoys = [], []
    for run in runs:
        assert run.real.float().mean() < 0.5  # most best buddies mean nothing
        q = q_values(run.centred, run.decoys[:draws])
        kept = q <= 0.05
        assert kept[run.real].float().mean() >= 0.95
        false.append(float((kept & ~run.real).sum() / kept.sum()))
        threshold = score_threshold(run.centred, q, 0.05)
        assert threshold is not None
        assert torch.equal(run.centred >= threshold, kept)
        decoys.append(float((run.decoys[-1] >= threshold).sum() / kept.sum()))
    assert 0.0 < np.mean(false) <= 0.06
    assert np.mean(decoys) <= 0.05  # for draws=1, of another shuffle than q rests on


def test_raw_r_cannot_be_tested(runs: list[Match]) -> None:
    """Decoys that like the same places reach as far as content does: what centring is for."""
    for run in runs[:5]:
        assert (q_values(run.raw, run.raw_decoys) <= 0.05)[run.real].float().mean() < 0.5
        places, alone = slice(CONTENT, CONTENT + PLACES), slice(CONTENT, None)
        assert run.tables.position[places, places].max() > 0.7
        assert run.tables.centred[alone, alone].abs().max() < 0.3


def block_sums(a: Tensor, b: Tensor, edges: list[int]) -> PairSums:
    """Of pairs of units, from maps (N, P, H, W) of one size, blocks between the edges."""
    shifts = torch.stack([x[0].mean(dim=(1, 2)) for x in (a, b)])  # (2, P)
    maps = torch.stack([a, b]) - shifts[:, None, :, None, None]  # (2, N, P, H, W)
    parts = [maps[:, i:j] for i, j in itertools.pairwise(edges)]
    return PairSums(
        torch.tensor([p.shape[1] for p in parts], dtype=torch.float64),
        torch.full(a.shape[1:2], float(a.shape[2] * a.shape[3]), dtype=torch.float64),
        torch.stack([p.prod(dim=0).sum(dim=(0, 2, 3)) for p in parts]),
        torch.stack([p.sum(dim=(1, 3, 4)) for p in parts], dim=1),
        torch.stack([p.square().sum(dim=(1, 3, 4)) for p in parts], dim=1),
        shifts,
    )


def agreeing(images: int, pairs: int, r: float, seed: int) -> tuple[Tensor, Tensor]:
    """Maps of pairs of units whose correlation over infinitely many images is r."""
    source = torch.Generator().manual_seed(seed)
    a, own = (smooth((images, pairs), (6, 6), 3, source).double() for _ in range(2))
    return a, r * a + (1 - r * r) ** 0.5 * own


def direct_r(a: Tensor, b: Tensor) -> float:
    return float(stats.pearsonr(a.flatten(), b.flatten()).statistic)


def test_jackknife_against_leaving_images_out() -> None:
    a, b = agreeing(40, 3, 0.6, seed=3)
    edges = list(range(0, 41, 8))
    blocks = block_sums(a, b, edges)
    left = pair_correlations(blocks.without_each())
    result = jackknife_correlations(blocks)
    t = stats.t.ppf(0.975, 4)
    for pair in range(3):
        keep = [[i for i in range(40) if not low <= i < low + 8] for low in edges[:-1]]
        without = np.array([direct_r(a[k, pair], b[k, pair]) for k in keep])
        np.testing.assert_allclose(left[:, pair], without, atol=1e-12)
        whole = direct_r(a[:, pair], b[:, pair])
        assert pair_correlations(blocks.whole())[0, pair] == pytest.approx(whole)
        # Blocks of one size: the textbook's formula.
        assert result.error[pair] == pytest.approx(np.sqrt(4 / 5 * len(without) * without.var()))
        z = np.arctanh(without)
        margin = t * np.sqrt(4 / 5 * len(z) * z.var())
        assert result.low[pair] == pytest.approx(np.tanh(np.arctanh(whole) - margin))
        assert result.high[pair] == pytest.approx(np.tanh(np.arctanh(whole) + margin))


@pytest.mark.parametrize("last", [175, 180, 190])
def test_intervals_hold_the_truth_as_often_as_they_say(last: int) -> None:
    """A last block of another size than the others changes nothing."""
    truth = 0.4
    a, b = agreeing(last, 1500, truth, seed=last)
    result = jackknife_correlations(block_sums(a, b, [*range(0, 171, 10), last]))
    inside = (result.low <= truth) & (truth <= result.high)
    assert 0.93 <= inside.double().mean() <= 0.97
    spread = pair_correlations(block_sums(a, b, [0, last]))[0].std()
    assert result.error.square().mean().sqrt() == pytest.approx(float(spread), rel=0.1)


def test_intervals_of_units_that_agree_wholly_or_fire_once() -> None:
    a, _ = agreeing(12, 2, 1.0, seed=4)
    a[1:, 1] = 0.3  # varies on one image only: constant without its block
    result = jackknife_correlations(block_sums(a, a.clone(), [0, 4, 8, 12]))
    assert result.error[0] == pytest.approx(0.0, abs=1e-9)
    assert result.low[0] == pytest.approx(1.0)
    assert result.error[1] > 0.3
    assert all(bool(x.isfinite().all()) for x in result)


def test_jaccard() -> None:
    assert jaccard([("a", 1), ("b", 2)], {("b", 2), ("c", 3)}) == pytest.approx(1 / 3)
    assert jaccard({1, 2}, {2, 1}) == 1.0
    assert jaccard([], []) == 0.0
