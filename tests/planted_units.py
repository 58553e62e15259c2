"""Maps of units whose matches are known, and what a run sums of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.functional.condense import condense
from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.null import (
    MeanMaps,
    centred_pearson,
    content_variance,
    image_groups,
    partners,
    position_sums,
)
from rosetta_lab.functional.resize import larger, smaller

CONTENT, PLACES, ALONE = 80, 50, 110  # units per model


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
        seen_a = condense(a[index], shift_a, [grid], [target], total=True)
        seen_b = condense(b[index], shift_b, [grid], [target], total=True)
        sums_a, sums_b = sums_a + seen_a.sums[:, 0], sums_b + seen_b.sums[:, 0]
        total_a, total_b = total_a + seen_a.total, total_b + seen_b.total
        on_a, on_b = (seen.grids[0].flatten(0, 2) for seen in (seen_a, seen_b))
        products[0] += on_a.t() @ on_b
        for draw in range(1, 1 + draws):
            place = partners(index, n, draws, draw)
            other = on_b.unflatten(0, (len(index), -1))[place].flatten(0, 1)
            products[draw] += on_a.t() @ other
    count = float(n * target[0] * target[1])
    position = position_sums(MeanMaps(total_a, n), MeanMaps(total_b, n))
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
