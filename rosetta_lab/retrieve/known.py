"""What is known of images, and which of them are alike in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rosetta_lab.data.fashion.readings import hue_error
from rosetta_lab.data.images import Target
from rosetta_lab.functional.retrieval import Relevant

PLACE = 0.1  # distance of two centres, as a share of the image's side
SCALE = 0.05  # difference of two sizes, likewise
HUE = 30.0  # degrees between two hues


@dataclass
class Known:
    """Images' classes and true numbers, gathered while they are looked at."""

    labels: list[int | None] = field(default_factory=list)
    truths: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, target: Target) -> None:
        """What is known of one more image."""
        self.labels.append(target.label)
        self.truths.append(target.truth)

    def alike(self) -> dict[str, Relevant]:
        """By what images can be alike: class, place, size and hue, as far as all have them."""
        found: dict[str, Relevant] = {}
        if self.labels and None not in self.labels:
            label = torch.tensor(self.labels)
            found["class"] = lambda queries: label[queries, None] == label
        x, y, scale, hue = map(self._numbers, ("centre_x", "centre_y", "scale", "hue"))
        if x is not None and y is not None:
            place = torch.stack([x, y], dim=1)
            found["place"] = lambda queries: torch.cdist(place[queries], place) <= PLACE
        if scale is not None:
            found["size"] = lambda queries: (scale[queries, None] - scale).abs() <= SCALE
        if hue is not None:
            found["hue"] = lambda queries: hue_error(hue[queries, None], hue) <= HUE
        return found

    def _numbers(self, name: str) -> Tensor | None:
        if not self.truths or any(name not in truth for truth in self.truths):
            return None
        return torch.tensor([truth[name] for truth in self.truths])
