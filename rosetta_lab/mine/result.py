"""What a pass over the images leaves, in memory and as tensors of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from rosetta_lab.functional.matching import Neighbours, joined
from rosetta_lab.metrics.matching import Matching, join

Matchings = dict[str, Matching]


@dataclass
class MiningResult:
    """What matching needs, for every K up to the number of neighbours that were kept. On the CPU.

    Attributes:
        matchings: model name to neighbours of the reference's units (rows) and that model's units.
        own: neighbours of the reference's units among themselves, none its own.
        statistics: name to ``mean``, ``var``, ``count`` of every unit, float64 (paper, Eq. 1).
        parts: the matchings of parts of the images, by the part's name, see :func:`parts_of`.
        rounding: model name to the most that products in an arithmetic other than float32 changed
            its r in a first batch.
    """

    matchings: Matchings
    own: Neighbours
    statistics: dict[str, dict[str, Tensor]]
    parts: dict[str, Matchings] = field(default_factory=dict)
    rounding: dict[str, Tensor] = field(default_factory=dict)

    def alive(self, name: str) -> Tensor:
        """Which units of a model vary at all (U,)."""
        return self.statistics[name]["var"] > 0

    def joined(self, lower: MiningResult, k: int) -> MiningResult:
        """This of the reference's first units, and that of those after them, as one."""

        def join_all(one: Matchings, other: Matchings) -> Matchings:
            return {name: join(matching, other[name], k) for name, matching in one.items()}

        return MiningResult(
            join_all(self.matchings, lower.matchings),
            joined(self.own, lower.own, k),
            self.statistics,
            {part: join_all(found, lower.parts[part]) for part, found in self.parts.items()},
            {name: x.maximum(lower.rounding[name]) for name, x in self.rounding.items()},
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything by names that :meth:`from_tensors` understands."""
        tensors = {f"own/{key}": value for key, value in _flat(self.own).items()}
        for part, matchings in {"": self.matchings, **self.parts}.items():
            for name, (targets, decoys) in matchings.items():
                for draw, found in enumerate([targets, *decoys]):
                    for key, value in _flat(found).items():
                        tensors[f"matching/{part}/{draw}/{key}/{name}"] = value
        tensors |= {f"rounding/{name}": value for name, value in self.rounding.items()}
        for name, statistics in self.statistics.items():
            tensors |= {f"statistics/{key}/{name}": x for key, x in statistics.items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> MiningResult:
        """Inverse of :meth:`to_tensors`.

        Raises:
            LookupError, ValueError: they are not what it gives.
        """
        own: dict[str, Tensor] = {}
        found: dict[str, dict[str, dict[int, dict[str, Tensor]]]] = {}
        statistics: dict[str, dict[str, Tensor]] = {}
        rounding: dict[str, Tensor] = {}
        for path, value in tensors.items():
            kind, rest = path.split("/", 1)
            if kind == "own":
                own[rest] = value
            elif kind == "rounding":
                rounding[rest] = value
            elif kind == "statistics":
                key, name = rest.split("/", 1)
                statistics.setdefault(name, {})[key] = value
            else:
                part, draw, key, name = rest.split("/", 3)
                draws = found.setdefault(part, {}).setdefault(name, {})
                draws.setdefault(int(draw), {})[key] = value
        parts = {
            part: {name: _matching(draws) for name, draws in models.items()}
            for part, models in found.items()
        }
        return cls(parts.pop(""), _neighbours(own), statistics, parts, rounding)


def _matching(draws: Mapping[int, Mapping[str, Tensor]]) -> Matching:
    targets, *decoys = (_neighbours(draws[draw]) for draw in range(len(draws)))
    return Matching(targets, decoys)


def _flat(found: Neighbours) -> dict[str, Tensor]:
    scores = {f"score_{key}": value for key, value in found.scores.items()}
    numbers = {"rows": found.rows.int(), "columns": found.columns.int()}
    return {**numbers, "nearness": found.nearness, **scores}


def _neighbours(flat: Mapping[str, Tensor]) -> Neighbours:
    scores = {k.removeprefix("score_"): v for k, v in flat.items() if k.startswith("score_")}
    return Neighbours(flat["rows"].long(), flat["columns"].long(), flat["nearness"], scores)
