"""Registration against displacements and scales that SciPy made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from rosetta_lab.functional import map_edits as edits
from rosetta_lab.functional.registration import (
    area_scale,
    displacement,
    intersection_over_union,
    scale,
)

Picture = NDArray[np.float64]
SIZES = [(64, 64), (48, 80), (63, 65)]


def texture(height: int, width: int, seed: int = 0) -> Picture:
    """A coloured texture (3, 2 height, 2 width), to be cropped after it was moved."""
    noise = np.random.default_rng(seed).standard_normal((3, 2 * height, 2 * width))
    return np.asarray(0.5 + 0.5 * ndimage.gaussian_filter(noise, (0, 1.5, 1.5)))


def crop(picture: Picture, height: int, width: int) -> torch.Tensor:
    top, left = height // 2, width // 2
    return torch.from_numpy(picture[:, top : top + height, left : left + width].copy())[None]


def blob() -> Picture:
    """A mask (64, 64) of something lopsided, near the middle."""
    y, x = np.mgrid[:64, :64]
    body = ((x - 30) / 12.0) ** 2 + ((y - 34) / 8.0) ** 2 < 1
    return np.asarray(body & ~(((x - 34) / 4.0) ** 2 + ((y - 30) / 4.0) ** 2 < 1), dtype=np.float64)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("move", [(0.0, 0.0), (5.0, -3.0), (-4.4, 2.3), (12.6, 10.2)])
@pytest.mark.parametrize("size", SIZES)
def test_displacement_of_pictures(
    size: tuple[int, int], move: tuple[float, float], noise: float
) -> None:
    """To a tenth of a pixel and 2 %, also under noise of 0.3 standard deviations."""
    picture = texture(*size)
    moved = ndimage.shift(picture, (0.0, move[1], move[0]), order=3)
    before, after = crop(picture, *size), crop(moved, *size)
    after = after + noise * before.std() * torch.randn(
        after.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found = displacement(before, after)[0] * torch.tensor([size[1], size[0]])
    for measured, asked in zip(found.tolist(), move, strict=True):
        assert measured == pytest.approx(asked, abs=0.1 + 0.02 * abs(asked))


@pytest.mark.parametrize("move", [(0, 0), (8, -5), (-15, 12), (20, 20), (-18, -25)])
def test_displacement_of_masks_by_whole_pixels(move: tuple[int, int]) -> None:
    before = torch.from_numpy(blob())[None] > 0.5
    after = torch.from_numpy(ndimage.shift(blob(), move[::-1], order=0))[None] > 0.5
    found = displacement(before, after, window=False)[0] * 64
    np.testing.assert_allclose(found, move, atol=1e-3)


@pytest.mark.parametrize("move", [(3.3, 1.7), (-12.5, 9.25), (7.8, -10.1)])
def test_displacement_of_masks_between_pixels(move: tuple[float, float]) -> None:
    """With soft borders, and with hard ones and a tenth of the pixels around it spoilt."""
    moved = ndimage.shift(blob(), move[::-1], order=1)
    before = torch.from_numpy(blob())[None]
    soft = displacement(before, torch.from_numpy(moved)[None], window=False)[0] * 64
    np.testing.assert_allclose(soft, move, atol=0.05)
    spoilt = (moved > 0.5) ^ (np.random.default_rng(0).random((64, 64)) < 0.01)
    hard = displacement(before, torch.from_numpy(spoilt)[None], window=False)[0] * 64
    np.testing.assert_allclose(hard, move, atol=0.3)


def test_displacement_is_signed_as_shift_is() -> None:
    """A batch whose pictures move differently, in fractions of a rectangular picture."""
    before = torch.zeros(2, 16, 32)
    before[:, 6:10, 12:18] = 1.0
    before[:, 7:9, 14] = 0.0
    after = torch.cat(
        [
            edits.shift(before[None, :1], dx=0.25, dy=-0.125)[0],
            edits.shift(before[None, 1:], dx=-0.125, dy=0.25)[0],
        ]
    )
    found = displacement(before, after, window=False)
    np.testing.assert_allclose(found, [[0.25, -0.125], [-0.125, 0.25]], atol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("factor", [0.6, 0.75, 1.0, 1.1, 1.25, 1.5, 1.8])
@pytest.mark.parametrize("size", SIZES)
def test_scale_of_pictures(size: tuple[int, int], factor: float, noise: float) -> None:
    """To an eighth of the change, on a logarithmic scale."""
    picture = texture(*size)
    middle = (np.array([1, *picture.shape[1:]]) - 1) / 2
    matrix = np.array([1.0, 1 / factor, 1 / factor])
    smooth = ndimage.gaussian_filter(picture, (0, *[max(0.0, (1 / factor - 1) * 0.7)] * 2))
    grown = ndimage.affine_transform(smooth, matrix, middle - matrix * middle, mode="wrap")
    before, after = crop(picture, *size), crop(grown, *size)
    after = after + noise * before.std() * torch.randn(
        after.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found = scale(before, after).item()
    assert np.log(found) == pytest.approx(np.log(factor), abs=0.01 + abs(np.log(factor)) / 8)


def test_scale_does_not_depend_on_the_place() -> None:
    picture = np.zeros((1, 128, 128))
    picture[:, 32:96, 32:96] = blob()
    grown = ndimage.affine_transform(
        picture, [1.0, 1 / 1.5, 1 / 1.5], [0.0, 63.5 / 3, 63.5 / 3], order=1
    )
    moved = ndimage.shift(grown, (0, -4, 6), order=1)
    found = scale(crop(picture, 64, 64), crop(moved, 64, 64)).item()
    assert found == pytest.approx(1.5, abs=0.1)


def test_scale_from_areas() -> None:
    before, after = torch.zeros(2, 8, 8, dtype=torch.bool), torch.zeros(2, 8, 8, dtype=torch.bool)
    before[:, 2:4, 2:4] = True
    after[0, 2:6, 2:6] = True
    after[1, 2:3, 2:3] = True
    assert area_scale(before, after).tolist() == [2.0, 0.5]
    assert area_scale(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)).isnan().all()


def test_intersection_over_union() -> None:
    first, second = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    first[0, :2] = second[0, 1:3] = 1.0  # 4 of 12
    first[1] = 1.0
    second[1] = 0.25
    found = intersection_over_union(first, second).tolist()
    assert found == [pytest.approx(1 / 3), 0.25, 1.0]
    assert intersection_over_union(first > 0, second > 0)[1].item() == 1.0
