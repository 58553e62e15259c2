"""Position, content and shuffles against brute force and maps that are really upsampled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from planted_units import smooth, tables
from reference import pooled_correlation
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.null import MeanMaps, image_groups, partners, position_sums


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
    position = position_sums(*(MeanMaps(total, 4.0) for total in totals))
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
