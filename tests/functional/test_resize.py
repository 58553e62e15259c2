"""Interpolation as matrices, for any sizes: against NumPy's and torch's, and adjoint to them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rosetta_lab.functional.resize import (
    Size,
    add_reduced_rows,
    add_upsampled_sums,
    interpolation_matrix,
    reduce_columns,
    sum_weights,
)

LENGTH = st.integers(1, 40)
SIDE = st.integers(1, 9)
CPU = torch.device("cpu")


def random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def interpolated(maps: Tensor, size: Size) -> Tensor:
    """Channels-last maps (N, H, W, C) at another size, by torch."""
    up = F.interpolate(maps.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
    return up.permute(0, 2, 3, 1)


@st.composite
def bands(draw: st.DrawFn, height: int) -> list[tuple[int, int]]:
    """Rows ``0:height``, cut anywhere."""
    cuts = sorted(draw(st.sets(st.integers(1, height - 1)))) if height > 1 else []
    return list(zip([0, *cuts], [*cuts, height], strict=True))


@given(source=LENGTH, target=LENGTH, seed=st.integers(0, 99))
def test_rows_are_weights_of_means(source: int, target: int, seed: int) -> None:
    """Every value is a mean of two neighbours: where NumPy interpolates, pixel centre by centre."""
    matrix = interpolation_matrix(source, target)
    assert matrix.shape == (target, source)
    assert bool((matrix >= 0).all()) and bool(((matrix > 0).sum(dim=1) <= 2).all())
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(target, dtype=torch.float64))
    signal = random(source, seed=seed)
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    expected = np.interp(centres, np.arange(source), signal.numpy())
    np.testing.assert_allclose((matrix @ signal).numpy(), expected, atol=1e-6)
    if source == target:
        assert torch.equal(matrix, torch.eye(source, dtype=torch.float64))


@given(st.data(), st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE), st.integers(0, 99))
def test_reducing_in_bands_is_adjoint_to_torch(
    data: st.DataObject, grid: Size, beyond: Size, seed: int
) -> None:
    """<U a, b> = <a, U* b> for maps on a grid, and maps of any larger size that come in bands."""
    size = (grid[0] + beyond[0] - 1, grid[1] + beyond[1] - 1)
    small, large = random(2, *grid, 3, seed=seed), random(2, *size, 3, seed=seed + 100)
    into = torch.zeros(2, *grid, 3, dtype=torch.float64)
    for start, stop in data.draw(bands(size[0])):
        narrow = reduce_columns(large[:, start:stop].contiguous(), grid[1])
        add_reduced_rows(narrow, start, size[0], into)
    expected = (interpolated(small, size) * large).sum(dim=(1, 2))
    torch.testing.assert_close((small * into).sum(dim=(1, 2)), expected, atol=1e-6, rtol=1e-6)


@given(
    st.data(),
    st.tuples(SIDE, SIDE),
    st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3),
    st.integers(0, 99),
)
def test_sums_in_bands_are_those_of_maps_that_torch_upsampled(
    data: st.DataObject, size: Size, beyond: list[Size], seed: int
) -> None:
    targets = tuple((size[0] + more[0] - 1, size[1] + more[1] - 1) for more in beyond)
    maps = random(2, *size, 3, seed=seed)
    weights = sum_weights(size, targets, torch.float64, CPU)
    found = torch.zeros(2, len(targets), 3, dtype=torch.float64)
    for start, stop in data.draw(bands(size[0])):
        add_upsampled_sums(maps[:, start : stop + 1], start, stop - start, weights, found)
    for place, target in enumerate(targets):
        up = interpolated(maps, target)
        expected = torch.stack([up.sum(dim=(0, 1, 2)), up.square().sum(dim=(0, 1, 2))])
        torch.testing.assert_close(found[:, place], expected, atol=1e-6, rtol=1e-6)
