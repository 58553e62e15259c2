"""Names from the nearness of words to pictures, held against words that mean nothing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Named(NamedTuple):
    """The best word of every concept (C,) each.

    Attributes:
        best: its place in the vocabulary.
        score: its score.
        second: place of the next best word; -1 where there is one word only.
        second_score: its score; NaN without one.
        chance: in (0, 1], the larger of two shares: of lists of meaningless words whose best is at
            least as good, and of sets of other crops for which the best word of the vocabulary is.
    """

    best: Tensor
    score: Tensor
    second: Tensor
    second_score: Tensor
    chance: Tensor


def scores(crops: Tensor, others: Tensor, words: Tensor) -> Tensor:
    """How much nearer a concept's crops are to words than other crops are.

    Cosines with a word differ from word to word, whatever the picture shows, so each is counted in
    standard deviations over other crops from their mean.

    Args:
        crops: unit vectors of every concept's crops (C, n, D).
        others: of crops that have nothing to do with the concepts (M, D).
        words: (W, D).

    Returns:
        (C, W): means over the crops; 0 on average, with a standard deviation of 1 / sqrt(n), where
        the crops are like the others.
    """
    known = (others @ words.t()).double()  # (M, W)
    spread = known.std(dim=0).clamp(min=1e-12)
    near: Tensor = (crops.double() @ words.t().double()).mean(dim=1)  # (C, W)
    return (near - known.mean(dim=0)) / spread


def name(scores: Tensor, nonsense: Tensor, shuffled: Tensor) -> Named:
    """The best word of every concept, and how often it would be as good if it meant nothing.

    Meaningless words alone are too low a hurdle: they are more alike than words are, so that the
    best of many is hardly better than one.

    Args:
        scores: of the vocabulary (C, W).
        nonsense: of lists of as many meaningless words (L, C, W).
        shuffled: of the vocabulary for sets of as many other crops (S, W).
    """
    ordered, order = scores.sort(dim=1, descending=True, stable=True)
    chances = [
        (1.0 + (best >= ordered[:, 0]).sum(dim=0).double()) / (1.0 + len(best))
        for best in (nonsense.amax(dim=2), shuffled.amax(dim=1)[:, None])
    ]
    alone = scores.shape[1] < 2
    return Named(
        order[:, 0],
        ordered[:, 0],
        torch.full_like(order[:, 0], -1) if alone else order[:, 1],
        torch.full_like(ordered[:, 0], torch.nan) if alone else ordered[:, 1],
        torch.maximum(*chances),
    )
