"""Units of two models joined by what they share: the partners of both, in other models.

Two lists of matches, of a's with units u and of b's with units u, give joins (a, b) wherever both
have the same u. A join is as strong as its two matches together, r(a, u) r(u, b): what r(a, b) is
where a and b have nothing in common but u. It is false where either match is, so its null has two
sides (:func:`crossed_q_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Joins(NamedTuple):
    """Joined units, in the order of their numbers.

    Attributes:
        pairs: numbers of a and of b (J, 2), every pair once.
        strength: the mean over the models of ``products`` (J,), in [0, 1].
        products: the best r(a, u) r(u, b) by model (J, M), 0 where it joins them through no unit.
        units: the model's unit with that product (J, M), -1 where there is none.
    """

    pairs: Tensor
    strength: Tensor
    products: Tensor
    units: Tensor


class Matches(NamedTuple):
    """Matches of one model's units with another's: numbers (P, 2), and their r (P,)."""

    pairs: Tensor
    r: Tensor


def join(first: Sequence[Matches], second: Sequence[Matches]) -> Joins:
    """Join the a's of the first matches with the b's of the second.

    Args:
        first: of a with the units of each of M models; r below 0 counts as 0.
        second: of b with the units of the same models.
    """
    rows = []
    for model, (one, other) in enumerate(zip(first, second, strict=True)):
        place, partner = _same_unit(one.pairs[:, 1], other.pairs[:, 1])
        product = one.r[place].double().clamp(min=0.0) * other.r[partner].double().clamp(min=0.0)
        found = torch.stack([one.pairs[place, 0], other.pairs[partner, 0], one.pairs[place, 1]], 1)
        rows.append((torch.full_like(place, model), found.long(), product))
    models, found, product = (torch.cat(parts) for parts in zip(*rows, strict=True))
    pairs, row = found[:, :2].unique(dim=0, return_inverse=True)
    cell = row * len(rows) + models
    order = product.argsort(stable=True)
    order = order[cell[order].argsort(stable=True)]  # by cell, the best unit of each last
    last = torch.ones(len(order), dtype=torch.bool)
    last[:-1] = cell[order].diff() > 0
    best = order[last]
    products = product.new_zeros(len(pairs), len(rows))
    units = torch.full(products.shape, -1)
    products.view(-1)[cell[best]] = product[best]
    units.view(-1)[cell[best]] = found[best, 2]
    return Joins(pairs, products.mean(dim=1), products, units)


def _same_unit(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """All places (i, j) with one[i] == other[j], as two lists (C,)."""
    ordered, order = other.sort(stable=True)
    start = torch.searchsorted(ordered, one.contiguous())
    counts = torch.searchsorted(ordered, one.contiguous(), right=True) - start
    place = torch.arange(len(one)).repeat_interleave(counts)
    step = torch.arange(len(place)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return place, order[start.repeat_interleave(counts) + step]


def crossed_q_values(targets: Tensor, half: Sequence[Tensor], decoys: Tensor) -> Tensor:
    """The least false discovery rate at which each join is still accepted.

    A false join has at least one false match. Where decoys are as many and as strong as false
    matches, joins of targets with decoys, from either side, count those with one false match and
    count those with two false ones twice; joins of decoys with decoys count these once:

        FDR(t) = (1 + max(0, N_half(t) - N_decoys(t))) / N_targets(t),

    as for cross-linked peptides (Walzthoeni et al., 2012; Fischer and Rappsilber, 2017), with one
    more decoy, as in :func:`rosetta_lab.functional.evidence.q_values`.

    Args:
        targets: strengths of joins of matches with matches (T,).
        half: of joins of the first's matches with the second's decoys, and the other way round.
        decoys: of joins of decoys with decoys.

    Returns:
        q (T,) in (0, 1], float64; equal strengths have equal q, a larger one never a larger q.
    """
    scores, order = targets.double().sort()

    def above(values: Tensor) -> Tensor:
        pool = values.double().sort().values
        return (len(pool) - torch.searchsorted(pool, scores)).double()

    false = (sum(map(above, half), torch.zeros(())) - above(decoys)).clamp(min=0.0)
    accepted = len(scores) - torch.searchsorted(scores, scores)
    q = torch.empty_like(scores)
    q[order] = ((1.0 + false) / accepted).cummin(dim=0).values.clamp(max=1.0)
    return q
