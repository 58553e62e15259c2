"""Edits of activation maps against answers worked out by hand, and their recipes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rosetta_lab.edit.edits import Amplify, CopyPaste, Edit, Shift, Suppress, Zoom
from rosetta_lab.functional import map_edits as edits

SIZES = [(1, 1), (2, 2), (3, 5), (4, 4), (7, 7), (8, 12), (13, 1), (64, 64)]
FLOOR = torch.tensor([-1.0, -2.0])


def make(height: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random maps (3, 2, height, width)."""
    source = torch.Generator().manual_seed(height * 100 + width)
    return torch.randn(3, 2, height, width, generator=source).to(dtype)


def one(rows: list[list[float]]) -> torch.Tensor:
    """A single map, as (1, 1, H, W)."""
    return torch.tensor(rows)[None, None]


def all_edits(**arguments: object) -> list[Edit]:
    return [
        Zoom(2.0, **arguments),
        Zoom(0.6, (0.2, 0.7), **arguments),
        Shift(0.3, -0.2, **arguments),
        Shift(0.3, -0.2, subcell=True, **arguments),
        CopyPaste(**arguments),
        CopyPaste(0.0, 0.25, axis="y", **arguments),
        Suppress(**arguments),
        Amplify(1.7, **arguments),
    ]


# Zoom


def test_zoom_by_two_worked_out_by_hand() -> None:
    """Doubling 0 1 2 3 gives 0 .25 .75 1.25 1.75 2.25 2.75 3; its middle is what stays."""
    row = [0.0, 1.0, 2.0, 3.0]
    zoomed = edits.zoom(one([row, row, row, row]), 2.0)
    assert zoomed[0, 0].tolist() == [[0.75, 1.25, 1.75, 2.25]] * 4
    assert edits.zoom(one([[1.0, 2.0, 4.0]]), 2.0).flatten().tolist() == [1.5, 2.0, 3.0]
    assert edits.zoom(one([[5.0]]), 2.0).item() == 5.0


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (8, 12), (64, 64)])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_zoom_in_is_interpolation_and_a_crop_of_the_centre(
    size: tuple[int, int], factor: int
) -> None:
    maps = make(*size, torch.float64)
    large = F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
    top, left = ((factor - 1) * n // 2 for n in size)
    expected = large[:, :, top : top + size[0], left : left + size[1]]
    torch.testing.assert_close(edits.zoom(maps, factor), expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)])
def test_zoom_about_a_border_crops_there(centre: tuple[float, float]) -> None:
    maps = make(6, 8, torch.float64)
    large = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    top, left = round(centre[1] * 6), round(centre[0] * 8)
    expected = large[:, :, top : top + 6, left : left + 8]
    torch.testing.assert_close(edits.zoom(maps, 2.0, centre), expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (64, 64)])
def test_zoom_out_is_antialiased_interpolation_with_a_frame(size: tuple[int, int]) -> None:
    maps = make(*size, torch.float64)
    small = F.interpolate(
        maps, scale_factor=0.5, mode="bilinear", align_corners=False, antialias=True
    )
    expected = F.pad(small, (size[1] // 4,) * 2 + (size[0] // 4,) * 2, value=-7.0)
    zoomed = edits.zoom(maps, 0.5, fill=-7.0)
    torch.testing.assert_close(zoomed, expected, rtol=0.0, atol=1e-12)


def test_zoom_out_covers_border_cells_in_part() -> None:
    """Two thirds of three cells: the middle cell, and half of each neighbour."""
    zoomed = edits.zoom(torch.ones(1, 1, 3, 3), 2 / 3)[0, 0]
    expected = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])
    torch.testing.assert_close(zoomed, expected)


def test_zoom_keeps_its_centre() -> None:
    """A slope stays in place at the centre and becomes flatter there, or steeper."""
    slope = torch.arange(20, dtype=torch.float64).expand(1, 1, 20, 20) + 0.5
    for factor in (2.0, 1.3):
        zoomed = edits.zoom(slope, factor, (0.25, 0.5))[0, 0, 10]
        expected = 5.0 + (torch.arange(20) + 0.5 - 5.0) / factor
        torch.testing.assert_close(zoomed[1:], expected[1:].double())  # the border is clamped


# Shift


def test_shift_by_a_quarter_of_four_is_one_cell() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4) + 1.0
    right = [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 13, 14, 15]]
    down = [[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    left = [[2, 3, 4, 0], [6, 7, 8, 0], [10, 11, 12, 0], [14, 15, 16, 0]]
    assert edits.shift(maps, dx=0.25)[0, 0].tolist() == right
    assert edits.shift(maps, dy=0.25)[0, 0].tolist() == down
    assert edits.shift(maps, dx=-0.25)[0, 0].tolist() == left
    both = edits.shift(maps, -0.25, 0.25, fill=-9.0)[0, 0].tolist()
    assert both == [[-9] * 4, [2, 3, 4, -9], [6, 7, 8, -9], [10, 11, 12, -9]]


@pytest.mark.parametrize("subcell", [False, True])
@pytest.mark.parametrize(("width", "cells"), [(4, 1), (8, 2), (12, 3), (64, 16)])
def test_shift_is_in_proportion_to_the_map(width: int, cells: int, subcell: bool) -> None:
    maps = make(3, width)
    expected = F.pad(maps, (cells, -cells))
    assert torch.equal(edits.shift(maps, dx=0.25, subcell=subcell), expected)


def test_whole_cells_are_the_nearest_halves_away_from_zero() -> None:
    row = one([[1.0, 2.0]])
    assert edits.shift(row, dx=0.2).flatten().tolist() == [1.0, 2.0]  # 0.4 cells
    assert edits.shift(row, dx=0.25).flatten().tolist() == [0.0, 1.0]  # 0.5
    assert edits.shift(row, dx=-0.25).flatten().tolist() == [2.0, 0.0]
    assert edits.shift(one([[1.0]]), dx=0.4).item() == 1.0
    assert edits.shift(one([[1.0]]), dx=0.6).item() == 0.0


def test_parts_of_a_cell_worked_out_by_hand() -> None:
    """A quarter of a cell to the right: a quarter of the left neighbour, or of the fill."""
    row = one([[4.0, 8.0, 0.0, 12.0]])
    moved = edits.shift(row, dx=1 / 16, fill=-4.0, subcell=True)
    assert moved.flatten().tolist() == [2.0, 7.0, 2.0, 9.0]
    back = edits.shift(row, dx=-1 / 16, fill=-4.0, subcell=True)
    assert back.flatten().tolist() == [5.0, 6.0, 3.0, 8.0]


def test_fill_per_unit_and_edge() -> None:
    maps = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])[None, :, None]  # (1, 2, 1, 4)
    assert edits.shift(maps, dx=0.5, fill=FLOOR)[0, :, 0].tolist() == [
        [-1, -1, 1, 2],
        [-2, -2, 5, 6],
    ]
    assert edits.shift(maps, dx=0.5, fill="edge")[0, :, 0].tolist() == [[1, 1, 1, 2], [5, 5, 5, 6]]
    assert edits.shift(maps, dx=-0.5, fill="edge")[0, 0, 0].tolist() == [3, 4, 4, 4]
    assert edits.shift(maps, dx=1.0, fill=FLOOR)[0, :, 0].tolist() == [[-1] * 4, [-2] * 4]


# Copy and paste


def test_copy_paste_worked_out_by_hand() -> None:
    first, second = one([[1.0, 2.0, 3.0, 4.0]]), one([[5.0, 6.0, 7.0, 8.0]])
    assert edits.copy_paste(first, second).flatten().tolist() == [1, 2, 7, 8]
    assert edits.copy_paste(first, second, at=0.25).flatten().tolist() == [1, 6, 7, 8]
    assert edits.copy_paste(first, second, axis="y").flatten().tolist() == [3, 4, 5, 6]
    odd = edits.copy_paste(first[..., :3], second[..., :3])
    assert odd.flatten().tolist() == [1.0, 4.0, 7.0]  # the split goes through the second cell


def test_copy_paste_doubles_what_is_in_the_middle() -> None:
    row = one([[0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0]])
    assert CopyPaste()(row, torch.zeros(1)).flatten().tolist() == [0, 1, 2, 0, 0, 1, 2, 0]
    column = row.transpose(2, 3)
    doubled = CopyPaste(0.0, 0.25, axis="y")(column, torch.zeros(1))
    assert doubled.flatten().tolist() == [0, 1, 2, 0, 0, 1, 2, 0]


# Suppress, amplify


def test_suppress_and_amplify() -> None:
    maps = torch.tensor([[0.0, 3.0], [-2.0, 1.0]])[None, :, None]  # (1, 2, 1, 2)
    assert edits.suppress(maps, FLOOR)[0, :, 0].tolist() == [[-1, -1], [-2, -2]]
    assert edits.amplify(maps, 2.0, FLOOR)[0, :, 0].tolist() == [[1, 7], [-2, 4]]
    assert edits.amplify(maps, 0.5, torch.zeros(2))[0, :, 0].tolist() == [[0, 1.5], [-1, 0.5]]
    assert torch.equal(edits.amplify(maps, 0.0, FLOOR), edits.suppress(maps, FLOOR))


# Masks


def test_box_has_soft_edges() -> None:
    """Of 4 cells, 0.375 to 1 is half of the second and all of the others."""
    before, after = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 8.0)
    box = edits.masked(before, after, (0.375, 0.0, 1.0, 0.5))[0, 0].tolist()
    assert box == [[0, 4, 8, 8], [0, 4, 8, 8], [0, 0, 0, 0], [0, 0, 0, 0]]
    inner = edits.masked(before, after, (0.3125, 0.5, 0.4375, 0.75))[0, 0].tolist()
    assert inner == [[0] * 4, [0] * 4, [0, 4, 0, 0], [0] * 4]


@pytest.mark.parametrize(("image", "grid"), [((12, 8), (4, 4)), ((9, 9), (3, 1)), ((5, 7), (5, 7))])
def test_image_mask_is_averaged_by_area(image: tuple[int, int], grid: tuple[int, int]) -> None:
    mask = torch.rand(2, *image, generator=torch.Generator().manual_seed(0))
    expected = F.adaptive_avg_pool2d(mask[:, None], grid)
    torch.testing.assert_close(edits.mask_weight(mask, *grid), expected)
    torch.testing.assert_close(edits.mask_weight(mask[0], *grid), expected[0, 0])


def test_image_mask_between_grids_that_do_not_divide() -> None:
    """Three pixels on two cells: the middle one is shared; one pixel covers everything."""
    assert edits.mask_weight(torch.tensor([[0.0, 0.75, 1.5]]), 1, 2).tolist() == [[0.25, 1.25]]
    assert edits.mask_weight(torch.tensor([[0.5]]), 2, 3).tolist() == [[0.5] * 3] * 2
    box = torch.zeros(10, 10)
    box[2:7, 3:9] = 1.0
    torch.testing.assert_close(
        edits.mask_weight(box, 7, 4).double(), edits.mask_weight((0.3, 0.2, 0.9, 0.7), 7, 4)
    )


def test_one_mask_per_image() -> None:
    before, after = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
    mask = torch.zeros(2, 8, 8)
    mask[1, :4] = 1.0
    edited = edits.masked(before, after, mask)
    assert not edited[0].any()
    assert (edited[1] == torch.tensor([[1.0, 1.0], [0.0, 0.0]])).all()


@pytest.mark.parametrize("number", range(8))
def test_masks_limit_every_edit(number: int) -> None:
    maps = make(8, 12)
    free = all_edits()[number](maps, FLOOR)
    edited = all_edits(mask=[0.0, 0.0, 0.5, 1.0])[number](maps, FLOOR)
    assert torch.equal(edited[..., :6], free[..., :6])
    assert torch.equal(edited[..., 6:], maps[..., 6:])
    everywhere = all_edits(mask=torch.ones(5, 5))[number](maps, FLOOR)
    torch.testing.assert_close(everywhere, free)


# All of them


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", SIZES)
def test_shape_dtype_and_identity(size: tuple[int, int], dtype: torch.dtype) -> None:
    maps = make(*size, dtype)
    for edit in all_edits():
        edited = edit(maps, FLOOR)
        assert edited.shape == maps.shape and edited.dtype == dtype
        assert edited.isfinite().all()
    for identity in (Zoom(1.0, (0.3, 0.9)), Shift(0.0), Shift(0.0, subcell=True), Amplify(1.0)):
        torch.testing.assert_close(identity(maps, FLOOR), maps)


@pytest.mark.parametrize("size", SIZES)
def test_constant_maps(size: tuple[int, int]) -> None:
    """What surrounds them is as they are: nothing that moves or zooms may change them."""
    maps = torch.tensor([3.0, -5.0])[:, None, None].expand(2, 2, *size)
    for edit in (Zoom(2.0), Zoom(1.3, (0.1, 0.8))):
        torch.testing.assert_close(edit(maps, FLOOR), maps)
    for move in (
        Zoom(0.4, fill="edge"),
        Shift(0.3, 0.9, fill="edge", subcell=True),
        CopyPaste(0.4, -0.1, fill="edge"),
    ):
        torch.testing.assert_close(move(maps, FLOOR), maps)
    level = maps[0, :, 0, 0]  # a fill that is the map's own value changes nothing either
    torch.testing.assert_close(edits.shift(maps, 0.3, 0.4, level, subcell=True), maps)
    torch.testing.assert_close(edits.zoom(maps, 0.4, fill=level), maps)
    assert torch.equal(edits.suppress(maps, level), maps)
    assert torch.equal(edits.amplify(maps, 5.0, level), maps)


@pytest.mark.parametrize("number", range(8))
def test_gradients_flow(number: int) -> None:
    """By finite differences, through the maps and through the units' minimum."""
    maps = make(3, 4, torch.float64)[:1].requires_grad_()
    floor = FLOOR.double().requires_grad_()
    edit = all_edits(mask=[0.1, 0.2, 0.9, 0.9])[number]
    assert torch.autograd.gradcheck(edit, (maps, floor))
    (gradient,) = torch.autograd.grad(edit(maps, floor).square().sum(), maps)
    assert gradient.isfinite().all() and gradient.any()
