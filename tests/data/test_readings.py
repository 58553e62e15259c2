"""What is read from pictures against the labels of scenes, and against scenes made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rosetta_lab.data.fashion.readings import (
    Readings,
    background,
    bounding_box,
    hue_error,
    hue_of,
    read_scenes,
)
from rosetta_lab.data.fashion.scenes import FashionScenes, Scenes, render

COUNT = 300


@pytest.fixture(scope="module")
def data(fashion_mnist: Path) -> FashionScenes:
    return FashionScenes("test", root=fashion_mnist)


@pytest.fixture(scope="module")
def scenes(data: FashionScenes) -> Scenes:
    return data.scenes(range(COUNT))


@pytest.fixture(scope="module")
def readings(scenes: Scenes) -> Readings:
    return read_scenes(scenes.image)


def square(left: int, top: int, side: int, colour: tuple[float, float, float]) -> torch.Tensor:
    """A square on a background whose brightness falls by 0.2 from top to bottom (1, 3, 20, 20)."""
    image = torch.tensor([0.7, 0.6, 0.65])[:, None, None].repeat(1, 20, 20)
    image += torch.linspace(0.1, -0.1, 20)[:, None]
    image[:, top : top + side, left : left + side] = torch.tensor(colour)[:, None, None]
    return image[None]


@pytest.mark.parametrize(("left", "top"), [(5, 8), (0, 0), (10, 10), (0, 10)])
def test_a_square_made_by_hand(left: int, top: int) -> None:
    """Also where it covers half of two borders."""
    found = read_scenes(square(left, top, 10, (0.1, 0.8, 0.1)))
    assert found.area.item() == 0.25
    expected = [left / 20, top / 20, (left + 10) / 20, (top + 10) / 20]
    torch.testing.assert_close(found.box, torch.tensor([expected]))
    torch.testing.assert_close(found.centre[0], torch.tensor([left + 5, top + 5]) / 20)
    assert found.scale.item() == 0.5
    assert found.hue.item() == pytest.approx(120.0)


def test_the_background_behind_it() -> None:
    found = background(square(0, 10, 10, (0.9, 0.1, 0.1)))[0, :, :, 0]
    expected = torch.tensor([0.7, 0.6, 0.65])[:, None] + torch.linspace(0.1, -0.1, 20)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.005)


def test_specks_are_no_garment_and_nothing_is_nan() -> None:
    image = square(0, 0, 0, (0.0, 0.0, 0.0))
    image[:, :, 9, 9] = 0.0
    found = read_scenes(torch.cat([image, square(4, 4, 5, (0.9, 0.1, 0.1))]))
    assert found.area.tolist() == [0.0, 0.0625]
    for values in (found.box, found.centre, found.scale, found.hue):
        assert values[0].isnan().all() and values[1].isfinite().all()


def test_bounding_box_of_a_rectangular_mask() -> None:
    mask = torch.zeros(2, 4, 10, dtype=torch.bool)
    mask[0, 1, 2] = mask[0, 2, 6] = True
    mask[1] = True
    torch.testing.assert_close(
        bounding_box(mask), torch.tensor([[0.2, 0.25, 0.7, 0.75], [0.0, 0.0, 1.0, 1.0]])
    )


def test_masks_cover_the_garments(data: FashionScenes, scenes: Scenes, readings: Readings) -> None:
    """The true share of a pixel is what stays the same when the background changes."""
    garments = data.garments[:COUNT].float() / 255.0
    level = torch.zeros(COUNT)
    black, white = (
        render(garments, scenes.hue, scenes.centre, scenes.scale, colour.expand(COUNT, 3), level)
        for colour in (torch.zeros(3), torch.ones(3))
    )
    truth = 1.0 - (white - black).mean(dim=1) > 0.5
    both, either = readings.mask & truth, readings.mask | truth
    overlap = both.sum(dim=(1, 2)) / either.sum(dim=(1, 2))
    assert overlap.median() > 0.93
    assert overlap.quantile(0.05) > 0.8


def test_place_size_and_hue_are_the_labels(scenes: Scenes, readings: Readings) -> None:
    distance = (readings.centre - scenes.centre).norm(dim=1)
    assert distance.median() < 0.01 and distance.quantile(0.99) < 0.03
    ratio = readings.scale / scenes.scale
    assert (ratio.median() - 1.0).abs() < 0.02 and ratio.std() < 0.03
    wrong = hue_error(readings.hue, scenes.hue)
    assert wrong.median() < 1.0 and wrong.quantile(0.99) < 15.0


def test_area_follows_scale_within_a_class(scenes: Scenes, readings: Readings) -> None:
    for label in (0, 2, 7):  # t-shirts, pullovers, sneakers: alike among themselves
        chosen = scenes.label == label
        side = readings.area[chosen].sqrt().numpy()
        assert np.corrcoef(side, scenes.scale[chosen].numpy())[0, 1] > 0.85


@pytest.mark.parametrize(
    ("colour", "hue"),
    [
        ((0.9, 0.1, 0.1), 0.0),
        ((0.8, 0.8, 0.2), 60.0),
        ((0.2, 0.5, 0.5), 180.0),
        ((0.0, 0.0, 1.0), 240.0),
        ((1.0, 0.0, 0.25), 345.0),
    ],
)
def test_hue_of_known_colours(colour: tuple[float, float, float], hue: float) -> None:
    assert hue_of(torch.tensor([colour])).item() == pytest.approx(hue, abs=1e-3)


def test_hue_error_goes_around_the_circle() -> None:
    first, second = torch.tensor([350.0, 10.0, 0.0, 90.0]), torch.tensor([10.0, 350.0, 180.0, 80.0])
    assert hue_error(first, second).tolist() == [20.0, 20.0, 180.0, 10.0]
