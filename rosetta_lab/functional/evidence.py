"""How much a match can be trusted: false discovery rates from decoys, and errors from blocks."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from rosetta_lab.functional.correlation import variance


def q_values(targets: Tensor, decoys: Sequence[Tensor]) -> Tensor:
    """The least false discovery rate at which each target is still accepted, by decoys.

    Decoys are what the same rule finds where there is nothing to find: D draws, each as large as
    the search among targets. Of the scores at or above t that mean nothing, about one in D + 1 is a
    target, so N(t) decoys stand for N(t) / D false targets (target and decoy, Elias and Gygi,
    2007). That alone is too bold where counts are small; with one more decoy,

        FDR(t) = (1 + N(t)) / (D R(t)),    R(t) targets at or above t,

    the rate is controlled, not only estimated (He et al., 2015, for D = 1). For D draws it is
    Selective SeqStep+ of Barber and Candes (2015, section 5; knockoff+ for D = 1), whose bound is
    (1 + N) / R <= q (1 - c) / c, at c = 1 / (D + 1): the one counts as one decoy among all, hence
    as 1 / D of a target. The least rate that can be shown is thus 1 / (D R). Proofs want scores
    that mean nothing to be exchangeable and independent; units are neither quite, so these are
    estimates, which the tests hold against planted data.

    Args:
        targets: scores (T,), larger is better.
        decoys: scores of every draw (of any number each), one draw at least.

    Returns:
        q (T,) in (0, 1], float64: the least FDR(t) over all t up to the target's score. Equal
        scores have equal q, and a larger score never a larger one.
    """
    pool = torch.cat(list(decoys)).to(targets).sort().values
    scores, order = targets.sort()
    # How many are below; equal ones are not.
    above = len(pool) - torch.searchsorted(pool, scores)
    accepted = len(scores) - torch.searchsorted(scores, scores)
    rates = (1.0 + above.double()) / (len(decoys) * accepted.double())
    q = torch.empty_like(rates)
    q[order] = rates.cummin(dim=0).values.clamp(max=1.0)
    return q


def score_threshold(scores: Tensor, q: Tensor, max_fdr: float) -> float | None:
    """The lowest score that is accepted at a false discovery rate; None where nothing is.

    Args:
        scores: of the targets (T,).
        q: theirs (T,).
        max_fdr: the highest q to accept.
    """
    accepted = scores[q <= max_fdr]
    return float(accepted.min()) if len(accepted) else None


class Uncertainty(NamedTuple):
    """Standard error and the ends of a confidence interval, (P,) each, float64."""

    error: Tensor
    low: Tensor
    high: Tensor


class PairSums(NamedTuple):
    """Sums of P pairs of units over B blocks of images, each pair at its common size; float64.

    Attributes:
        images: of every block (B,), none of them 0.
        positions: of every pair's common size (P,).
        products: sum of a*b of the shifted values (B, P).
        sums: of a and of b (2, B, P).
        squares: sums of squares of a and of b (2, B, P).
        shifts: what was subtracted from a and from b (2, P).
    """

    images: Tensor
    positions: Tensor
    products: Tensor
    sums: Tensor
    squares: Tensor
    shifts: Tensor

    def whole(self) -> PairSums:
        """All blocks as one."""
        return self._replace(
            images=self.images.sum(dim=0, keepdim=True),
            products=self.products.sum(dim=0, keepdim=True),
            sums=self.sums.sum(dim=1, keepdim=True),
            squares=self.squares.sum(dim=1, keepdim=True),
        )

    def without_each(self) -> PairSums:
        """B times all blocks but one."""
        whole = self.whole()
        return self._replace(
            images=whole.images - self.images,
            products=whole.products - self.products,
            sums=whole.sums - self.sums,
            squares=whole.squares - self.squares,
        )


def pair_correlations(blocks: PairSums) -> Tensor:
    """Every block's r of every pair (paper, Eq. 2): (B, P) in [-1, 1], 0 for constant units."""
    count = blocks.images[:, None] * blocks.positions  # (B, P)
    a, b = (
        variance(count, *moments)
        for moments in zip(blocks.sums, blocks.squares, blocks.shifts, strict=True)
    )
    covariance = blocks.products / count - (blocks.sums[0] / count) * (blocks.sums[1] / count)
    spread = (a * b).sqrt()
    r = torch.where(spread > 0.0, covariance / spread, torch.zeros_like(spread))
    return r.clamp(-1.0, 1.0)


def jackknife_correlations(blocks: PairSums, level: float = 0.95) -> Uncertainty:
    """How exactly each pair's r is known, from B blocks of images.

    See :func:`jackknife`. The ends are found for atanh(r) (Fisher's z), whose spread hardly depends
    on r, and therefore stay within [-1, 1].

    Args:
        blocks: sums of two blocks at least.
        level: probability that the interval holds what infinitely many images would give.
    """
    r, without = pair_correlations(blocks.whole())[0], pair_correlations(blocks.without_each())
    limit = 1.0 - torch.finfo(r.dtype).eps
    z, z_without = (x.clamp(-limit, limit).atanh() for x in (r, without))
    _, low, high = jackknife(z, z_without, blocks.images, level)
    return Uncertainty(jackknife(r, without, blocks.images, level).error, low.tanh(), high.tanh())


def jackknife(
    estimate: Tensor, without: Tensor, images: Tensor, level: float = 0.95
) -> Uncertainty:
    """Standard error and interval of estimates, from those without each of B blocks of images.

    The delete-m_j jackknife (Busing, Meijer and van der Leeden, 1999): blocks may differ in size.
    With h_j = n / m_j, the pseudo-values p_j = h_j t - (h_j - 1) t_(-j) vary about their mean
    p = B t - sum_j (1 - 1 / h_j) t_(-j), and the squared error is the mean over j of
    (p_j - p)^2 / (h_j - 1). For blocks of one size this is the usual (B - 1) / B times the sum of
    squared differences of the t_(-j) from their mean. The interval is that of Student's t with
    B - 1 degrees of freedom.

    Args:
        estimate: t, from all images (P,).
        without: t_(-j), from all images but block j's (B, P), B at least 2.
        images: m_j, of every block (B,), none of them 0.
        level: probability that the interval holds what infinitely many images would give.
    """
    blocks = len(without)
    h = (images.sum() / images.to(without))[:, None]  # (B, 1)
    pseudo = h * estimate - (h - 1.0) * without  # (B, P)
    centre = blocks * estimate - ((1.0 - 1.0 / h) * without).sum(dim=0)
    error = ((pseudo - centre).square() / (h - 1.0)).mean(dim=0).sqrt()
    margin = float(stats.t.ppf(0.5 + level / 2.0, blocks - 1)) * error
    return Uncertainty(error, estimate - margin, estimate + margin)


def jaccard(first: Collection[Hashable], second: Collection[Hashable]) -> float:
    """Agreement of two sets of pairs or neurons: what both hold, as a share of what either holds.

    Two empty sets agree on nothing: 0, so that finding nothing never passes for stable.
    """
    one, other = set(first), set(second)
    return len(one & other) / max(1, len(one | other))
