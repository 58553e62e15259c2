"""Which classes the concepts of a page go with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rosetta_lab.dictionary.schema import RosettaDictionary, class_names
from rosetta_lab.functional.profile import class_profile
from rosetta_lab.mine.page.examples import Examples

MOST = 12  # classes that are listed


@dataclass
class Class:
    """A class in a concept's profile.

    Attributes:
        name: of the class.
        text: how much higher the concept's units peak on its images, in standard deviations.
        share: the same, of the most that is listed; 0 for less than the average.
        above: whether that is more than the highest class reaches with shuffled labels.
    """

    name: str
    text: str
    share: str
    above: bool


def profiles(dictionary: RosettaDictionary, examples: Examples) -> dict[int, list[Class]]:
    """Classes of every concept, the highest first; nothing where images have no classes."""
    peaks, labels = examples.peaks, examples.labels
    if peaks is None or labels is None or not dictionary.concepts or len(labels.unique()) < 2:
        return {}
    scaled = (peaks - peaks.mean(dim=0)) / peaks.std(dim=0).clamp(min=torch.finfo().tiny)
    of_concepts = torch.stack(
        [scaled[:, concept.neurons].mean(dim=1) for concept in dictionary.concepts], dim=1
    )
    found = class_profile(of_concepts, labels)
    names = class_names(dictionary.config)
    listed = [_name(label, names) for label in found.labels.tolist()]
    return {
        concept.id: _classes(listed, found.means[:, place].tolist(), float(found.chance[place]))
        for place, concept in enumerate(dictionary.concepts)
    }


def _name(label: int, names: Sequence[str] | None) -> str:
    return names[label] if names and 0 <= label < len(names) else f"class {label}"


def _classes(names: Sequence[str], means: Sequence[float], chance: float) -> list[Class]:
    ranked = sorted(zip(means, names, strict=True), key=lambda entry: -entry[0])[:MOST]
    most = max(ranked[0][0], 1e-6)
    return [
        Class(
            name,
            f"{value:+.1f}".replace("-", "\u2212"),
            f"{max(0.0, value / most):.2f}",
            value > chance,
        )
        for value, name in ranked
    ]
