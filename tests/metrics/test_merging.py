"""Sums of any batches in any processes, added up, are those of all images at once."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import pooled_correlation
from torch import Tensor

from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import CorrelationTable
from rosetta_lab.metrics.statistics import SumMetric, UnitStatistics
from rosetta_lab.models.units import Layer

SIDE = st.integers(1, 6)
SIZES = st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3)
CHANNELS = 2
Maps = dict[str, Tensor]


def model(sizes: list[tuple[int, int]], images: int, seed: int) -> tuple[Maps, UnitGroups]:
    source = torch.Generator().manual_seed(seed)
    layers = [Layer(f"layer{i}", CHANNELS, *size) for i, size in enumerate(sizes)]
    maps = {x.name: torch.randn(images, CHANNELS, *x.size, generator=source) for x in layers}
    return maps, UnitGroups(layers, torch.randn(CHANNELS * len(layers), generator=source))


@st.composite
def shared_out(draw: st.DrawFn) -> list[list[list[int]]]:
    """Images in batches of several processes, some of which may have none."""
    images = draw(st.permutations(range(draw(st.integers(2, 9)))))
    places = st.lists(st.integers(0, 2), min_size=len(images), max_size=len(images))
    ranks, batches = draw(places), draw(places)
    return [
        [[n for n, r, b in zip(images, ranks, batches, strict=True) if (r, b) == (rank, batch)]
         for batch in range(3)]
        for rank in range(3)
    ]  # fmt: skip


def added(parts: list[SumMetric], whole: SumMetric) -> SumMetric:
    """What the processes' reduction leaves in each of them."""
    names = whole.sums()
    whole.load_sums({name: sum(part.sums()[name] for part in parts) for name in names})
    return whole


@given(shared_out(), SIZES, SIZES, st.integers(0, 99))
def test_merged_sums_are_those_of_all_images(
    processes: list[list[list[int]]],
    rows: list[tuple[int, int]],
    columns: list[tuple[int, int]],
    seed: int,
) -> None:
    images = sum(len(batch) for process in processes for batch in process)
    a, groups_a = model(rows, images, seed)
    b, groups_b = model(columns, images, seed + 100)
    tables, statistics = [], []
    for batches in processes:
        table, own = CorrelationTable(groups_a, groups_b), UnitStatistics(groups_a)
        for batch in filter(None, batches):
            of_a = ActivationBatch(groups_a, {n: x[batch] for n, x in a.items()}, [groups_b])
            of_b = ActivationBatch(groups_b, {n: x[batch] for n, x in b.items()}, [groups_a])
            table.update(of_a, of_b)
            own.update(of_a)
        tables.append(table)
        statistics.append(own)

    found = added(tables, CorrelationTable(groups_a, groups_b)).compute()
    expected = pooled_correlation(list(a.values()), list(b.values()))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    of_units = added(statistics, UnitStatistics(groups_a)).compute()
    flat = [x.double().transpose(0, 1).flatten(1) for x in a.values()]
    for key, values in {
        "mean": [x.mean(dim=1) for x in flat],
        "var": [x.var(dim=1, correction=0) for x in flat],
        "count": [torch.full((CHANNELS,), x.shape[1], dtype=torch.float64) for x in flat],
    }.items():
        torch.testing.assert_close(of_units[key], torch.cat(values), atol=1e-5, rtol=1e-5)
