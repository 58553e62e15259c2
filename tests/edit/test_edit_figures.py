"""What is read from the pictures of an edit, on pictures whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rosetta_lab.edit.edits import Shift, Suppress
from rosetta_lab.edit.figures import picture_figures, strength
from rosetta_lab.functional.agreement import TargetMaps


def scene(x: int, side: int, colour: tuple[float, float, float]) -> Tensor:
    """A square of ``side`` pixels, its middle at (x, 32), before a pale background."""
    image = torch.full((3, 64, 64), 0.9)
    half = side // 2
    image[:, 32 - half : 32 + half, x - half : x + half] = torch.tensor(colour)[:, None, None]
    return image


def test_figures_of_a_square_that_moved_by_a_quarter() -> None:
    red, blue = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)
    before = torch.stack([scene(20, 16, red)] * 3)
    after = torch.stack([scene(36, 16, red), scene(28, 16, red), scene(20, 16, blue)])

    def brightest_colour(images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    rows = picture_figures(before, after, Shift(0.25), brightest_colour)
    assert [row["moved_x"] for row in rows] == pytest.approx([0.25, 0.125, 0.0], abs=0.02)
    assert [row["moved_share"] for row in rows] == pytest.approx([1.0, 0.5, 0.0], abs=0.08)
    assert [row["area"] for row in rows] == pytest.approx([1.0] * 3, abs=0.15)
    assert [row["class_kept"] for row in rows] == [1.0, 1.0, 0.0]
    assert rows[0]["hue_change"] < 2.0 and rows[2]["hue_change"] == pytest.approx(120.0, abs=10.0)


@pytest.mark.parametrize("move", [(16, 0), (-8, 24)])
def test_figures_of_pictures_that_are_no_garment(move: tuple[int, int]) -> None:
    """Exactly moved, black behind them: the way is told; there is nothing whose size could be."""
    noise = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = torch.nn.functional.interpolate(noise, size=64, mode="bicubic").clamp(0.2, 1.0)
    after = torch.zeros_like(before)
    (dx, dy), rows, columns = move, torch.arange(64), torch.arange(64)
    into = ((rows + dy >= 0) & (rows + dy < 64), (columns + dx >= 0) & (columns + dx < 64))
    rows, columns = rows[into[0]], columns[into[1]]
    after[..., (rows + dy)[:, None], columns + dx] = before[..., rows[:, None], columns]
    for row in picture_figures(before, after, Shift(dx / 64, dy / 64)):
        assert (row["moved_x"], row["moved_y"]) == pytest.approx((dx / 64, dy / 64), abs=1e-4)
        assert row["moved_share"] == pytest.approx(1.0, abs=1e-3)
        assert all(math.isnan(row[name]) for name in ("scale", "area", "hue_change"))


def test_a_garment_that_moves_exactly_beside_black_that_comes_in() -> None:
    before = scene(20, 16, (0.8, 0.1, 0.1))[None]
    after = before.roll(16, dims=3)
    after[..., :16] = 0.0
    (row,) = picture_figures(before, after, Shift(0.25))
    assert row["moved_share"] == pytest.approx(1.0, abs=1e-3)
    assert math.isnan(row["area"])


def test_a_picture_that_became_another_does_not_tell_how_far_it_moved() -> None:
    one, two = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (row,) = picture_figures(one, two, Shift(0.25))
    assert all(math.isnan(row[name]) for name in ("moved_x", "moved_y", "moved_share"))


def test_area_of_a_square_that_doubled_its_side() -> None:
    colour = (0.1, 0.5, 0.2)
    (row,) = picture_figures(
        scene(32, 12, colour)[None], scene(32, 24, colour)[None], Suppress(), None
    )
    assert row["area"] == pytest.approx(4.0, rel=0.25)
    assert "moved_share" not in row and "class_kept" not in row


def test_strength_is_the_mean_height_above_the_minima() -> None:
    maps = torch.tensor([[1.0, 3.0], [5.0, 7.0]])  # two units of one position, two images
    targets = [
        TargetMaps("a", torch.tensor([0, 1]), maps.reshape(2, 2, 1, 1)),
        TargetMaps("b", torch.tensor([0]), torch.tensor([[[[2.0, 4.0]]], [[[0.0, 0.0]]]])),
    ]
    floors = [torch.tensor([1.0, 0.0]), torch.tensor([-3.0])]
    assert strength(targets, floors).tolist() == pytest.approx([(0 + 3 + 6) / 3, (4 + 7 + 3) / 3])
