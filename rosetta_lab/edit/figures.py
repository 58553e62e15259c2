"""How well an edit worked, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rosetta_lab.data.fashion.readings import hue_error, read_scenes
from rosetta_lab.edit.edits import Edit
from rosetta_lab.functional.agreement import TargetMaps
from rosetta_lab.functional.registration import displacement
from rosetta_lab.models.discriminative.base import DiscriminativeModel


@torch.no_grad()
def picture_figures(
    before: Tensor, after: Tensor, edit: Edit, classifier: DiscriminativeModel | None = None
) -> list[dict[str, float]]:
    """What changed in the pictures, against what was asked.

    Args:
        before: (N, 3, R, R) in [0, 1].
        after: the same.
        edit: says what was asked.
        classifier: whose class logits say whether the class was kept; None for no such figure.

    Returns:
        For every image ``moved_x`` and ``moved_y``, fractions of the picture, by registration of
        what it shows; ``scale`` and ``area``, ratios, and ``hue_change`` in degrees, of what stands
        before plain ground; ``class_kept``, 0 or 1; and where the edit asks for a displacement,
        ``moved_share``: the part of the way, along the direction asked for. NaN where a picture
        does not tell.
    """
    one, two = read_scenes(before), read_scenes(after)
    moved = displacement(before, after)
    seen = one.whole & two.whole
    columns = {
        "moved_x": moved[:, 0],
        "moved_y": moved[:, 1],
        "scale": (two.scale / one.scale).where(seen, torch.nan),
        "area": (two.area / one.area).where(seen, torch.nan),
        "hue_change": hue_error(one.hue, two.hue).where(seen, torch.nan),
    }
    if edit.displacement is not None and any(edit.displacement):
        asked = torch.tensor(edit.displacement).to(moved)
        columns["moved_share"] = (moved @ asked) / asked.square().sum()
    if classifier is not None:
        classes = [classifier(images).argmax(dim=1) for images in (before, after)]
        columns["class_kept"] = (classes[0] == classes[1]).float()
    return [
        {name: float(values[place]) for name, values in columns.items()}
        for place in range(len(before))
    ]


def strength(targets: Sequence[TargetMaps], floors: Sequence[Tensor]) -> Tensor:
    """How strongly units fire above their minima (N,): the mean over units and positions.

    Args:
        targets: maps of units, standardised.
        floors: minima of the same units (P,) each.
    """
    totals = [
        (target.maps - floor[:, None, None]).mean(dim=(2, 3)).sum(dim=1)
        for target, floor in zip(targets, floors, strict=True)
    ]
    return torch.stack(totals).sum(dim=0) / sum(len(floor) for floor in floors)
