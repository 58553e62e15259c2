"""Position and shuffles against brute force, q-values on planted data, errors by recomputation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as some
from reference import pooled_correlation
from scipy import stats
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.condense import condense
from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.evidence import (
    PairSums,
    jaccard,
    jackknife_correlations,
    pair_correlations,
    q_values,
    score_threshold,
)
from rosetta_lab.functional.matching import best_buddies
from rosetta_lab.functional.null import (
    centred_pearson,
    content_variance,
    image_groups,
    partners,
    position_sums,
)
from rosetta_lab.functional.resize import larger, smaller


def smooth(shape: tuple[int, int], size: tuple[int, int], cells: int, source) -> Tensor:
    """Smooth random fields of unit variance on average, (*shape, *size)."""
    field = torch.randn(*shape, cells, cells, generator=source)
    field = F.interpolate(field, size=size, mode="bilinear", align_corners=False)
    return field / field.std()


@dataclass
class Tables:
    """All that one block of pairs is told: r, and r by each null, (A, B)."""

    r: Tensor
    position: Tensor
    centred: Tensor
    shuffled: list[Tensor]
    shuffled_centred: list[Tensor]


def tables(a: Tensor, b: Tensor, draws: int = 1, groups: int = 12) -> Tables:
    """From float32 maps (N, C, H, W) in batches, as a run does it: shifted, condensed, summed.

    A batch is so many groups of images that are shuffled among themselves.
    """
    size_a, size_b = ((x.shape[2], x.shape[3]) for x in (a, b))
    grid, target = smaller(size_a, size_b), larger(size_a, size_b)
    shift_a, shift_b = (x[:4].double().mean(dim=(0, 2, 3)).float() for x in (a, b))
    total_a = total_b = torch.zeros((), dtype=torch.float64)
    n = len(a)
    products = torch.zeros(1 + draws, a.shape[1], b.shape[1], dtype=torch.float64)
    sums_a, sums_b = torch.zeros(2, a.shape[1]).double(), torch.zeros(2, b.shape[1]).double()
    every = image_groups(n, draws)
    for start in range(0, len(every), groups):
        index = torch.tensor([i for group in every[start : start + groups] for i in group])
        seen_a = condense(a[index], shift_a, [grid], [target])
        seen_b = condense(b[index], shift_b, [grid], [target])
        sums_a, sums_b = sums_a + seen_a.sums[:, 0], sums_b + seen_b.sums[:, 0]
        total_a, total_b = total_a + seen_a.total, total_b + seen_b.total
        on_a, on_b = seen_a.grids[0], seen_b.grids[0]
        products[0] += on_a.t() @ on_b
        for draw in range(1, 1 + draws):
            place = partners(index, n, draws, draw)
            other = on_b.unflatten(0, (len(index), -1))[place].flatten(0, 1)
            products[draw] += on_a.t() @ other
    count = float(n * target[0] * target[1])
    position = position_sums(total_a, total_b, n)
    var_a = variance(count, sums_a[0], sums_a[1], shift_a)
    var_b = variance(count, sums_b[0], sums_b[1], shift_b)
    content_a = content_variance(count, sums_a[1], position.squares_a, var_a)
    content_b = content_variance(count, sums_b[1], position.squares_b, var_b)
    raw = [
        pearson(count, x, sums_a[0], sums_b[0], var_a, var_b)
        for x in (*products, position.products)
    ]
    centred = [centred_pearson(count, x, position, content_a, content_b) for x in products]
    return Tables(raw[0], raw[-1], centred[0], raw[1:-1], centred[1:])


def upsampled(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, H, W) at the larger of the two sizes, float64."""
    size = (max(a.shape[2], b.shape[2]), max(a.shape[3], b.shape[3]))
    up = [F.interpolate(x.double(), size=size, mode="bilinear") for x in (a, b)]
    return up[0], up[1]


SIZES = [((4, 4), (7, 7)), ((9, 5), (3, 8)), ((6, 6), (6, 6))]


@pytest.mark.parametrize("sizes", SIZES)
def test_position_is_the_average_over_all_pairings(sizes) -> None:
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 3, *size, generator=source) + 2.0 for size in sizes)
    up_a, up_b = upsampled(a, b)
    every = [
        torch.einsum("iahw,ibhw->ab", up_a, up_b[list(pairing)])
        for pairing in itertools.permutations(range(4))
    ]
    totals = [x.double().sum(dim=0).permute(1, 2, 0) for x in (a, b)]
    position = position_sums(*totals, images=4)
    torch.testing.assert_close(position.products, torch.stack(every).mean(dim=0))
    for squares, up in ((position.squares_a, up_a), (position.squares_b, up_b)):
        torch.testing.assert_close(squares, 4 * up.mean(dim=0).square().sum(dim=(1, 2)))
    found = tables(a, b)
    expected = [
        pooled_correlation([a], [b[list(pairing)]]) for pairing in itertools.permutations(range(4))
    ]
    np.testing.assert_allclose(found.position.numpy(), np.mean(expected, axis=0), atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1000.0], ids=["", "mean of 1000 spreads"])
@pytest.mark.parametrize("sizes", SIZES)
def test_centred_r_is_that_of_maps_less_their_mean_map(sizes, offset: float) -> None:
    source = torch.Generator().manual_seed(1)
    cause = smooth((50, 1), (16, 16), 4, source)
    place = smooth((1, 1), (16, 16), 4, source)
    a, b = (
        F.interpolate(torch.rand(1, 4, 1, 1, generator=source) * cause + place, size=size)
        + 0.5 * torch.randn(50, 4, *size, generator=source)
        + offset
        for size in sizes
    )
    up_a, up_b = (x - x.mean(dim=0) for x in upsampled(a, b))
    found = tables(a, b, draws=3, groups=5)
    np.testing.assert_allclose(found.r.numpy(), pooled_correlation([a], [b]), atol=1e-5)
    np.testing.assert_allclose(found.centred.numpy(), pooled_correlation([up_a], [up_b]), atol=1e-5)
    assert (found.r - found.centred).abs().max() > 0.1  # another number indeed
    for draw in (1, 2, 3):  # images 48 and 49 do not fill a group of four: the last has six
        other = [(i ^ draw) if i < 44 else 44 + (i - 44 + draw) % 6 for i in range(50)]
        for table, pair in (
            (found.shuffled[draw - 1], (a, b[other])),
            (found.shuffled_centred[draw - 1], (up_a, up_b[other])),
        ):
            expected = pooled_correlation([pair[0]], [pair[1]])
            np.testing.assert_allclose(table.numpy(), expected, atol=1e-5)


def test_a_unit_without_content_has_no_centred_r() -> None:
    """The same map for every image, whatever float32 makes of its sums; and a constant unit."""
    source = torch.Generator().manual_seed(2)
    a, b = torch.randn(40, 2, 5, 5, generator=source), torch.randn(40, 2, 8, 8, generator=source)
    a[:, 0] = 7.3 * torch.randn(5, 5, generator=source) + 123.456
    b[:, 1] = 0.1
    found = tables(a, b)
    assert found.centred[0].abs().max() == 0
    assert found.centred[:, 1].abs().max() == 0
    assert found.centred[1, 0] != 0


@pytest.mark.parametrize("draws", [1, 2, 3, 5])
def test_every_image_meets_another_one_once(draws: int) -> None:
    for total in range(draws + 1, 40):
        index = torch.arange(total)
        seen = [index]
        for draw in range(1, 1 + draws):
            place = partners(index, total, draws, draw)
            assert place.sort().values.tolist() == list(range(total))
            assert all((place != other).all() for other in seen)  # nor an earlier draw's
            seen.append(place)
    whole = torch.arange(64)
    assert partners(whole, 64, draws, 1).tolist() == [i ^ 1 for i in range(64)]


@pytest.mark.parametrize(("total", "draws"), [(33, 1), (32, 1), (39, 3), (41, 2)])
def test_partners_depend_neither_on_batches_nor_on_processes(total: int, draws: int) -> None:
    groups = image_groups(total, draws)
    assert [i for group in groups for i in group] == list(range(total))
    expected = partners(torch.arange(total), total, draws, draws).tolist()
    for processes, per_batch in itertools.product((1, 2, 3), (1, 2, 5)):
        found = {}
        for rank in range(processes):
            own = groups[rank::processes]
            for start in range(0, len(own), per_batch):
                index = torch.tensor([i for group in own[start : start + per_batch] for i in group])
                place = partners(index, total, draws, draws)
                found |= dict(zip(index.tolist(), index[place].tolist(), strict=True))
        assert [found[i] for i in range(total)] == expected


def test_images_that_cannot_be_shuffled() -> None:
    with pytest.raises(RosettaError, match=r"num_images=3: 3 shuffles need at least 4"):
        image_groups(3, 3)
    with pytest.raises(ValueError, match="splits a group"):
        partners(torch.arange(1, 5), 8, 1, 1)


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


CONTENT, PLACES, ALONE = 80, 50, 110  # units per model


def planted(seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Two models' layers of two sizes each.

    Units 2c and 2c + 1 of either model match in content, up to CONTENT. Then come units that share
    one of six places and nothing else, then units on their own. A quarter of the first like a place
    as well, their match's or another one. All fields are smooth: few positions are independent.
    """
    source = torch.Generator().manual_seed(seed)
    images, units = 60, CONTENT + PLACES + ALONE
    causes = smooth((images, CONTENT // 2), (16, 16), 5, source).repeat_interleave(2, dim=1)
    places = smooth((6, 1), (16, 16), 4, source)[:, 0]

    def model(sizes: list[tuple[int, int]]) -> list[Tensor]:
        agreement = 0.5 + 0.45 * torch.rand(CONTENT, 1, 1, generator=source)
        own = smooth((images, units), (16, 16), 5, source)
        own[:, :CONTENT] *= (1 - agreement**2).sqrt()
        own[:, :CONTENT] += agreement * causes
        liking = 0.5 + 1.5 * torch.rand(units, 1, 1, generator=source)
        liking[CONTENT + PLACES :] = 0.0
        liking[:CONTENT] *= torch.rand(CONTENT, 1, 1, generator=source) < 0.25
        which = torch.randint(6, (units,), generator=source)
        offset = 5.0 * torch.randn(units, 1, 1, generator=source)
        maps = own + liking * places[which] + offset
        # Every second unit of each kind lives in the other layer.
        return [F.interpolate(maps[:, i::2], size=size) for i, size in enumerate(sizes)]

    return model([(16, 16), (8, 8)]), model([(7, 7), (4, 4)])


def joined(rows: list[Tensor], columns: list[Tensor], draws: int) -> Tables:
    """Tables over all layers, units of both models in the planted order."""
    blocks = [[tables(a, b, draws) for b in columns] for a in rows]

    def weave(parts: list[list[Tensor]]) -> Tensor:
        whole = torch.empty(sum(len(line[0]) for line in parts), sum(x.shape[1] for x in parts[0]))
        for i, j in itertools.product((0, 1), (0, 1)):
            whole[i::2, j::2] = parts[i][j].float()
        return whole

    return Tables(
        weave([[x.r for x in line] for line in blocks]),
        weave([[x.position for x in line] for line in blocks]),
        weave([[x.centred for x in line] for line in blocks]),
        [weave([[x.shuffled[d] for x in line] for line in blocks]) for d in range(draws)],
        [weave([[x.shuffled_centred[d] for x in line] for line in blocks]) for d in range(draws)],
    )


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


def match(seed: int) -> Match:
    found = joined(*planted(seed), draws=3)
    buddies, *shuffled = (best_buddies(x, 5, 5) for x in (found.r, *found.shuffled))
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
