"""What an edit shows: a table and a page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rosetta_lab.dictionary import RosettaDictionary
from rosetta_lab.edit_runs import EditRun


def edit_table(run: EditRun) -> str:
    """A plain-text table: the mean of every figure, one row for each way to edit."""
    names = list(dict.fromkeys(n for arm in run.arms.values() for row in arm.figures for n in row))
    width = {name: max(9, len(name) + 2) for name in names}
    lines = [f"{'arm':<14}" + "".join(f"{name:>{width[name]}}" for name in names)]
    for arm_name, arm in run.arms.items():
        cells = []
        for name in names:
            values = [row[name] for row in arm.figures if math.isfinite(row.get(name, math.nan))]
            cells.append(
                f"{sum(values) / len(values):>{width[name]}.3f}" if values else " " * width[name]
            )
        lines.append(f"{arm_name:<14}" + "".join(cells))
    return "\n".join(lines)


def write_edits(folder: Path, run: EditRun, cfg: Any, dictionary: RosettaDictionary) -> Path:
    return folder / "index.html"
