"""The figures of an edit: their names and means, and tables of them."""

from __future__ import annotations

import csv
import io
import math

from rosetta_lab.edit.arms import EditArm, EditRun
from rosetta_lab.edit.edits import Edit
from rosetta_lab.invert.figures import known, means

TITLES = {  # of figures, with units
    "agreement_before": "agreement before",
    "agreement": "agreement after",
    "moved_x": "moved right (of the width)",
    "moved_y": "moved down (of the height)",
    "registered_x": "moved right, by registration",
    "registered_y": "moved down, by registration",
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


def edit_table(run: EditRun) -> str:
    """A plain-text table: the mean of every figure, one row for each way to edit."""
    names = figure_names(run)
    width = {name: max(9, len(name) + 2) for name in names}
    lines = [f"{'arm':<14}" + "".join(f"{name:>{width[name]}}" for name in names)]
    for arm_name, arm in run.arms.items():
        mean = arm_means(arm)
        cells = (
            f"{mean[name]:>{width[name]}.3f}" if name in mean else " " * width[name]
            for name in names
        )
        lines.append(f"{arm_name:<14}" + "".join(cells))
    return "\n".join(lines)


def csv_table(run: EditRun) -> str:
    """Every figure of every image and way to edit, as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["id", "arm", *figure_names(run)], restval="")
    writer.writeheader()
    for arm_name, arm in run.arms.items():
        for name, row in zip(run.sources.ids, arm.figures, strict=True):
            writer.writerow({"id": name, "arm": arm_name, **row})
    return stream.getvalue()


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
            asked[f"moved_{axis}"] = asked[f"registered_{axis}"] = value
        asked["moved_share"] = 1.0
    if edit.scale is not None:
        asked |= {"scale": edit.scale, "area": edit.scale**2}
    elif edit.displacement is not None:
        asked |= {"scale": 1.0, "area": 1.0}
    return {**asked, "hue_change": 0.0, "class_kept": 1.0} if asked else {}


def figure_text(name: str, value: float) -> str:
    """A figure as text."""
    if not math.isfinite(value):
        return "\u2013"
    if name in ("moved_share", "class_kept", "concept_change", "others_change"):
        return f"{100 * value:.0f} %".replace("-", "\u2212")
    return f"{value:.{1 if name == 'hue_change' else 3}f}".replace("-", "\u2212")
