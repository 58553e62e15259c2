"""Best buddies against those of shuffled images, and the Rosetta neurons that stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.functional.evidence import q_values, score_threshold
from rosetta_lab.functional.matching import BestBuddies, best_buddies
from rosetta_lab.metrics.matching import Matching


@dataclass
class Judged:
    """The best buddies of the reference model and another, each with its evidence.

    Attributes:
        buddies: of the same images (paper, Eq. 3).
        decoys: of shuffled images, draw by draw; empty without a null.
        q: the least false discovery rate at which each is accepted (P,); None without a null.
        kept: which of them are accepted (P,), bool.
        threshold: the lowest centred r that is accepted; None where nothing is, or without a null.
    """

    buddies: BestBuddies
    decoys: list[BestBuddies]
    q: Tensor | None
    kept: Tensor
    threshold: float | None

    def passing(self, decoys: BestBuddies) -> BestBuddies:
        """Those decoys that would be accepted."""
        lowest = torch.inf if self.threshold is None else self.threshold
        return _only(decoys, decoys.scores["centred"] >= lowest)

    @property
    def accepted(self) -> BestBuddies:
        """The best buddies that are kept."""
        return _only(self.buddies, self.kept)


@dataclass
class Found:
    """What matching found in every model together.

    Attributes:
        models: name to the reference model's best buddies there.
        candidates: numbers of reference units with a best buddy in every model: the Rosetta neurons
            of the paper's rule.
        rosetta: those with an accepted best buddy in every model.
        q: of every candidate, by the mean over the models of its best centred r; empty without a
            null.
        decoys: candidates among shuffled images, draw by draw.
        decoys_kept: those of them that would be accepted.
        max_fdr: the highest false discovery rate that is accepted.
    """

    models: dict[str, Judged]
    candidates: list[int]
    rosetta: list[int]
    q: dict[int, float]
    decoys: list[list[int]]
    decoys_kept: list[list[int]]
    max_fdr: float


def judge(matching: Matching, k_rows: int, k_columns: int, max_fdr: float) -> Judged:
    """Best buddies with their q.

    The paper's similarity cannot be tested: decoys that like the same places reach any r. So pairs
    are matched by it, and judged by what content explains of it.

    Args:
        matching: neighbours, by the images and by the null.
        k_rows: each reference unit's neighbours among the model's.
        k_columns: each model unit's neighbours among the reference's.
        max_fdr: the highest false discovery rate that is accepted.
    """
    found = best_buddies(matching.targets, k_rows, k_columns)
    decoys = [best_buddies(draw, k_rows, k_columns) for draw in matching.decoys]
    if not decoys:
        return Judged(found, [], None, torch.ones(len(found.pairs), dtype=torch.bool), None)
    scores = found.scores["centred"].cpu()
    q = q_values(scores, [draw.scores["centred"].cpu() for draw in decoys])
    return Judged(found, decoys, q, q <= max_fdr, score_threshold(scores, q, max_fdr))


def find(matchings: Mapping[str, Matching], k_rows: int, k_columns: int, max_fdr: float) -> Found:
    """Join the best buddies of every model through the reference's units (paper, section 3.2)."""
    models = {name: judge(m, k_rows, k_columns, max_fdr) for name, m in matchings.items()}
    every = list(models.values())
    candidates = common([judged.buddies for judged in every])
    rosetta = common([judged.accepted for judged in every])
    draws = list(zip(*(judged.decoys for judged in every), strict=True))
    decoys = [common(draw) for draw in draws]
    passing = [
        common([judged.passing(found) for judged, found in zip(every, draw, strict=True)])
        for draw in draws
    ]
    q: dict[int, float] = {}
    if draws and candidates:
        scores = mean_of_best([judged.buddies for judged in every], candidates)
        chance = [mean_of_best(d, units) for d, units in zip(draws, decoys, strict=True)]
        q = dict(zip(candidates, q_values(scores, chance).tolist(), strict=True))
    return Found(models, candidates, rosetta, q, decoys, passing, max_fdr)


def common(buddies: Sequence[BestBuddies]) -> list[int]:
    """Rows that have a best buddy in all of several models, in order."""
    return sorted(set.intersection(*(set(found.pairs[:, 0].tolist()) for found in buddies)))


def mean_of_best(
    buddies: Sequence[BestBuddies], rows: Sequence[int], score: str = "centred"
) -> Tensor:
    """Mean over models of every row's best score among its best buddies (rows,)."""
    best = []
    for found in buddies:
        place = {row: i for i, row in enumerate(rows)}
        own = torch.tensor([place.get(row, -1) for row in found.pairs[:, 0].tolist()]).long()
        scores = found.scores[score].cpu()[own >= 0]
        lowest = torch.full((len(rows),), -torch.inf)
        best.append(lowest.scatter_reduce(0, own[own >= 0], scores, "amax"))
    return torch.stack(best).mean(dim=0)


def returning(whole: Found, part: Found) -> set[int]:
    """Rosetta units of a whole run that a part of its images finds too.

    A unit returns where it is a Rosetta unit again, with one of the same partners in every model.
    """
    again = set(whole.rosetta) & set(part.rosetta)
    for name, judged in whole.models.items():
        pairs, others = (
            set(map(tuple, one.accepted.pairs.tolist())) for one in (judged, part.models[name])
        )
        again &= {row for row, _ in pairs & others}
    return again


def _only(buddies: BestBuddies, mask: Tensor) -> BestBuddies:
    mask = mask.to(buddies.pairs.device)
    scores = {name: values[mask] for name, values in buddies.scores.items()}
    return BestBuddies(buddies.pairs[mask], buddies.least_k[mask], scores)
