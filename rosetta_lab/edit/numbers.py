"""The figures of an edit: their names and means, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from rosetta_lab.edit.arms import EditArm, EditRun
from rosetta_lab.edit.edits import Edit
from rosetta_lab.files import write_csv
from rosetta_lab.invert.figures import known, means
from rosetta_lab.run.terminal import table

NOT_TOLD = "not told"  # by the pictures
TITLES = {  # of figures, with units
    "agreement_before": "agreement before",
    "agreement": "agreement after",
    "moved_x": "moved right (of the width)",
    "moved_y": "moved down (of the height)",
    "scale": "size (times)",
    "area": "area (times)",
    "hue_change": "change of hue (°)",
    "moved_share": "share of the way",
    "class_kept": "class kept",
    "concept_change": "change of the edited concepts",
    "others_change": "change of the others",
}
ARMS = {
    "rosetta": "Rosetta units",
    "random units": "as many random units",
    "activations": "activations changed, nothing optimised",
}


def figure_names(run: EditRun) -> list[str]:
    """Names of all figures, in order."""
    return list(dict.fromkeys(n for arm in run.arms.values() for row in arm.figures for n in row))


def arm_means(arm: EditArm) -> dict[str, float]:
    """Mean of every figure over the images where it is known."""
    return means([known(row) for row in arm.figures])


def mean_text(arm: EditArm, name: str, text: Callable[[float], str]) -> str:
    """An arm's mean of a figure, and of how many of its images, where not all of them tell it.

    Empty where the arm has no such figure at all.
    """
    values = [row[name] for row in arm.figures if name in row]
    told = sum(map(math.isfinite, values))
    if not told:
        return NOT_TOLD if values else ""
    mean = text(arm_means(arm)[name])
    return mean if told == len(values) else f"{mean} ({told} of {len(values)})"


def edit_table(run: EditRun) -> str:
    """A plain-text table: the mean of every figure, one row for each way to edit."""
    names = figure_names(run)
    rows = [["arm", *names]]
    rows += [
        [arm_name, *(mean_text(arm, name, "{:.3f}".format) for name in names)]
        for arm_name, arm in run.arms.items()
    ]
    return table(rows)


def write_table(path: Path, run: EditRun) -> None:
    """Write every figure of every image and way to edit as CSV."""
    names = figure_names(run)
    rows = [
        [name, arm_name, *map(row.get, names)]
        for arm_name, arm in run.arms.items()
        for name, row in zip(run.sources.ids, arm.figures, strict=True)
    ]
    write_csv(path, [["id", "arm", *names], *rows])


def asked_words(edit: Edit) -> str:
    """What an edit asks of the picture, as far as a number says it; empty where none does."""
    parts = []
    if edit.scale is not None:
        parts.append(f"{edit.scale:g} times the size")
    for value, ways, side in zip(
        edit.displacement or (), (("right", "left"), ("down", "up")), ("width", "height"),
        strict=False,
    ):  # fmt: skip
        if value:
            way = ways[0] if value > 0 else ways[1]
            parts.append(
                f"{abs(value):g} of the {side} {'' if side == 'height' else 'to the '}{way}"
            )
    return " and ".join(parts)


def asked_figures(edit: Edit) -> dict[str, float]:
    """What the figures of an edit would be if it did just what was asked."""
    asked: dict[str, float] = {}
    if edit.displacement is not None:
        for axis, value in zip("xy", edit.displacement, strict=True):
            asked[f"moved_{axis}"] = value
        asked["moved_share"] = 1.0
    if edit.scale is not None:
        asked |= {"scale": edit.scale, "area": edit.scale**2}
    elif edit.displacement is not None:
        asked |= {"scale": 1.0, "area": 1.0}
    return {**asked, "hue_change": 0.0, "class_kept": 1.0} if asked else {}


def figure_text(name: str, value: float) -> str:
    """A figure as text."""
    if not math.isfinite(value):
        return NOT_TOLD
    if name in ("moved_share", "class_kept", "concept_change", "others_change"):
        return f"{100 * value:.0f} %".replace("-", "\u2212")
    return f"{value:.{1 if name == 'hue_change' else 3}f}".replace("-", "\u2212")
