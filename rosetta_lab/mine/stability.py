"""How often matches return in parts of a run's images, and how counts grow with the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.dictionary.evidence import Found, returning
from rosetta_lab.functional.evidence import jaccard
from rosetta_lab.mine.null import parts_of


@dataclass
class Stability:
    """What parts of the images find, each held against its own null.

    Attributes:
        of_units: Rosetta unit to the share of halves of the images that find it again.
        halves: images of a half.
        neurons: Jaccard index of the Rosetta units of two halves, mean over the splits.
        best_buddies: model name to the same of accepted best buddies.
        course: images, Rosetta neurons among them, those of the paper's rule, and those of it among
            shuffled images; from few images to all.
    """

    of_units: dict[int, float]
    halves: int
    neurons: float
    best_buddies: dict[str, float]
    course: list[tuple[int, int, int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the dictionary's summary."""
        return {
            "images_of_a_half": self.halves,
            "neurons": round(self.neurons, 4),
            "best_buddies": {name: round(value, 4) for name, value in self.best_buddies.items()},
            "course": [
                dict(zip(("images", "rosetta", "candidates", "shuffled"), row, strict=True))
                for row in self.course
            ],
        }


def measure_stability(
    parts: Mapping[str, Found], whole: Found, grouping: Grouping
) -> Stability | None:
    """Compare the parts of a run with each other and the whole; None where none were kept apart.

    Args:
        parts: what each of them finds, see :func:`rosetta_lab.mine.null.parts_of`.
        whole: what all images find.
        grouping: of the images.
    """
    halves = {part: found for part, found in parts.items() if part.startswith("half")}
    if not halves:
        return None
    again = [returning(whole, found) for found in halves.values()]
    pairs = [
        (found, halves[f"{part[:-1]}b"]) for part, found in halves.items() if part.endswith("a")
    ]
    blocks = parts_of(grouping.blocks)
    images = grouping.images / grouping.blocks
    course = [
        _counted(round(images * int(blocks[part].sum())), found)
        for part, found in parts.items()
        if part.startswith("first")
    ]
    return Stability(
        {unit: sum(unit in one for one in again) / len(again) for unit in whole.rosetta},
        round(images * (grouping.blocks // 2)),
        _mean([jaccard(a.rosetta, b.rosetta) for a, b in pairs]),
        {
            name: _mean([jaccard(_accepted(a, name), _accepted(b, name)) for a, b in pairs])
            for name in whole.models
        },
        [*course, _counted(grouping.images, whole)],
    )


def _counted(images: int, found: Found) -> tuple[int, int, int, float]:
    shuffled = _mean([float(len(decoys)) for decoys in found.decoys])
    return images, len(found.rosetta), len(found.candidates), shuffled


def _accepted(found: Found, model: str) -> list[tuple[int, ...]]:
    return [tuple(pair) for pair in found.models[model].accepted.pairs.tolist()]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
