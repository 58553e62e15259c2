"""A run's figures as CSV and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetta_lab.files import write_csv
from rosetta_lab.invert.figures import figures, means
from rosetta_lab.run.terminal import table


def write_table(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures of every image as CSV."""
    heads = ["id", "label", *figures(records)]
    write_csv(path, [heads, *([record.get(head) for head in heads] for record in records)])


def figures_table(
    records: Sequence[Mapping[str, Any]], missing: Mapping[str, str] | None = None, limit: int = 12
) -> str:
    """A plain-text table: some images, then the mean of all, and how many are missing."""
    names = [name for name in figures(records) if not name.startswith("loss/")]
    shown: list[Mapping[str, Any]] = [*records[:limit], {"id": "mean", **means(records)}]
    cells = [
        [record["id"], *(f"{record[name]:.3f}" if name in record else "" for name in names)]
        for record in shown
    ]
    lines = [table([["image", *names], *cells])]
    if len(records) > limit:
        lines.append(f"{len(records) - limit} more in results.csv; the mean is of all")
    if missing:
        lines.append(f"{len(missing)} of {len(records) + len(missing)} images have no result")
    return "\n".join(lines)
