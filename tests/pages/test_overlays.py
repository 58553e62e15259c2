"""Colours, and heatmaps over images."""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray

from rosetta_lab.pages.colormap import colourise, css_gradient
from rosetta_lab.pages.overlays import OPACITY, normalise, overlay, strongest


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) of sRGB colours (N, 3) in [0, 1], after the standard's formulae."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(matrix).T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def test_colour_map_is_the_published_inferno() -> None:
    published = {0: "000004", 64: "57106e", 128: "bc3754", 192: "f98e09", 255: "fcffa4"}
    values = torch.tensor([[place / 255 for place in published]])  # (1, 5)
    colours = colourise(values)[:, 0].t() * 255  # (5, 3)
    expected = torch.tensor([list(bytes.fromhex(code)) for code in published.values()])
    torch.testing.assert_close(colours, expected.float(), atol=3.0, rtol=0)


def test_colour_map_is_perceptually_uniform() -> None:
    colours = colourise(torch.linspace(0, 1, 33)[None])[:, 0].t().double().numpy()
    lightness = lab(colours)[:, 0]
    steps = np.diff(lightness)
    assert steps.min() > 0
    assert np.abs(lightness - np.linspace(lightness[0], lightness[-1], 33)).max() < 6.0


def test_colours_outside_the_range_are_clamped() -> None:
    low, inside, high = colourise(torch.tensor([[-1.0, 0.0, 0.5, 1.0, 2.0]]))[:, 0].t()[
        torch.tensor([[0, 1], [2, 2], [3, 4]])
    ]
    assert torch.equal(low[0], low[1])
    assert torch.equal(high[0], high[1])
    assert not torch.equal(inside[0], low[0])


def test_legend_runs_from_the_lowest_to_the_highest_colour() -> None:
    assert re.fullmatch(
        r"linear-gradient\(to right, #000004, (#\w{6}, ){30}#fcffa4\)", css_gradient()
    )


def test_overlay_mixes_grey_image_and_colour() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 6)
    mixed = overlay(red, torch.ones(1, 2, 2))
    brightest = torch.tensor([252.0, 255.0, 164.0]) / 255
    expected = OPACITY * brightest + (1 - OPACITY) * 0.2126
    torch.testing.assert_close(
        mixed, expected.reshape(1, 3, 1, 1).expand_as(mixed), atol=1e-4, rtol=0
    )


def test_overlay_interpolates_bilinearly_over_the_whole_image() -> None:
    black = torch.zeros(1, 3, 6, 8)
    ramp = torch.tensor([[[0.0, 1.0]]])  # columns at 1/4 and 3/4 of the width
    positions = ((torch.arange(8) + 0.5) / 8 * 2 - 0.5).clamp(0, 1)
    expected = OPACITY * colourise(positions[None].expand(6, 8))
    torch.testing.assert_close(overlay(black, ramp)[0], expected, atol=1e-5, rtol=0)


def test_maps_are_normalised_over_the_whole_gallery() -> None:
    maps = torch.tensor([[[-3.0, 1.0]], [[2.0, 5.0]]])
    assert normalise(maps).tolist() == [[[0.0, 0.5]], [[0.625, 1.0]]]
    assert not normalise(torch.full((2, 3, 3), 7.0)).any()


def test_columns_are_the_images_with_the_highest_peaks() -> None:
    maps = torch.zeros(5, 3, 4)
    maps[3, 1, 2], maps[0, 0, 0], maps[4, 2, 3] = 9.0, 4.0, 4.0
    maps[1] = 3.0  # fires everywhere, yet lower
    assert strongest(maps, 4) == [3, 0, 4, 1]
