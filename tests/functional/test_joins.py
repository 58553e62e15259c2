"""Joins through shared partners, and what can be believed of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from rosetta_lab.functional.joins import Matches, crossed_q_values, join


def drawn(source: torch.Generator, count: int, units: int, partners: int) -> Matches:
    pairs = torch.stack(
        [torch.randint(n, (count,), generator=source) for n in (units, partners)], dim=1
    ).unique(dim=0)
    return Matches(pairs, torch.rand(len(pairs), generator=source) * 1.2 - 0.2)


def test_joins_are_those_of_a_loop() -> None:
    source = torch.Generator().manual_seed(0)
    first = [drawn(source, 60, 12, 9), drawn(source, 20, 12, 30), drawn(source, 5, 12, 2)]
    second = [drawn(source, 50, 15, 9), drawn(source, 30, 15, 30), drawn(source, 0, 15, 2)]
    expected: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for model, (one, other) in enumerate(zip(first, second, strict=True)):
        rows = zip(one.pairs.tolist(), one.r.tolist(), strict=True)
        columns = list(zip(other.pairs.tolist(), other.r.tolist(), strict=True))
        for ((a, u), r), ((b, v), s) in itertools.product(rows, columns):
            if u == v:
                parts = expected.setdefault((a, b), [(-1.0, -1)] * 3)
                parts[model] = max(parts[model], (max(r, 0.0) * max(s, 0.0), u))
    found = join(first, second)
    assert sorted(expected) == found.pairs.tolist() or sorted(map(list, expected)) == [
        list(pair) for pair in found.pairs.tolist()
    ]
    for pair, strength, products, units in zip(*map(Tensor.tolist, (
        found.pairs, found.strength, found.products, found.units
    )), strict=True):  # fmt: skip
        parts = expected[tuple(pair)]
        assert products == pytest.approx([max(value, 0.0) for value, _ in parts], abs=1e-6)
        assert strength == pytest.approx(sum(products) / 3, abs=1e-9)
        for product, unit, (_, best) in zip(products, units, parts, strict=True):
            assert (unit >= 0) == (best >= 0) and (product == 0.0 or unit == best)


def test_nothing_in_common_is_no_join() -> None:
    one = [Matches(torch.tensor([[0, 1], [2, 3]]), torch.tensor([0.5, 0.5]))]
    other = [Matches(torch.tensor([[0, 2], [2, 4]]), torch.tensor([0.5, 0.5]))]
    found = join(one, other)
    assert len(found.pairs) == len(found.strength) == 0


def planted(seed: int) -> tuple[float, int, int]:
    """Share of false joins among those at q <= 0.1, how many these are, and all that are true."""
    source = torch.Generator().manual_seed(seed)
    units, partners, true, false = 300, 200, 80, 150

    def side() -> tuple[Matches, Matches]:
        """Matches of units 0, 1, ... with partners of the same numbers, and false ones; decoys."""
        right = torch.arange(true)[:, None].expand(-1, 2)
        wrong = [drawn(source, false, units, partners) for _ in range(2)]
        noise = [torch.rand(len(some.pairs), generator=source).square() * 0.3 for some in wrong]
        strong = 0.3 + 0.5 * torch.rand(true, generator=source)
        pairs = torch.cat([right, wrong[0].pairs])
        return Matches(pairs, torch.cat([strong, noise[0]])), Matches(wrong[1].pairs, noise[1])

    (one, one_decoys), (other, other_decoys) = side(), side()
    joins = join([one], [other])
    half = [join([one], [other_decoys]).strength, join([one_decoys], [other]).strength]
    decoys = join([one_decoys], [other_decoys]).strength
    kept = crossed_q_values(joins.strength, half, decoys) <= 0.1
    right = (joins.pairs[:, 0] == joins.pairs[:, 1]) & (joins.pairs[:, 0] < true)
    return float((~right[kept]).double().mean()) if kept.any() else 0.0, int(kept.sum()), true


def test_the_rate_of_false_joins_is_as_announced() -> None:
    runs = [planted(seed) for seed in range(24)]
    assert sum(share for share, _, _ in runs) / len(runs) <= 0.1
    assert sum(kept for _, kept, _ in runs) / len(runs) > 0.5 * runs[0][2]


def test_q_by_hand() -> None:
    targets = torch.tensor([0.9, 0.5, 0.7, 0.5])
    half = [torch.tensor([0.8, 0.6, 0.1]), torch.tensor([0.65])]
    decoys = torch.tensor([0.6])
    # At 0.9: 1 of 1. At 0.7: 1 + 1 of 2. At 0.5: 1 + 3 - 1 of 4.
    found = crossed_q_values(targets, half, decoys)
    torch.testing.assert_close(found, torch.tensor([0.75, 0.75, 0.75, 0.75], dtype=torch.float64))
    sure = crossed_q_values(targets, [torch.tensor([])], torch.tensor([]))
    torch.testing.assert_close(sure, torch.full((4,), 0.25, dtype=torch.float64))
    never = crossed_q_values(targets, [torch.ones(9)], torch.tensor([]))
    assert bool((never == 1.0).all())
