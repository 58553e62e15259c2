"""A run's figures as CSV and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetta_lab.files import write_csv
from rosetta_lab.invert.figures import figures, means


def write_table(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures of every image as CSV."""
    heads = ["id", "label", *figures(records)]
    write_csv(path, [heads, *([record.get(head) for head in heads] for record in records)])


def figures_table(
    records: Sequence[Mapping[str, Any]], missing: Mapping[str, str] | None = None, limit: int = 12
) -> str:
    """A plain-text table: some images, then the mean of all, and how many are missing."""
    names = [name for name in figures(records) if not name.startswith("loss/")]
    width = max(8, *(len(record["id"]) for record in records[:limit]))
    widths = {name: max(9, len(name) + 2) for name in names}
    rows = [f"{'image':<{width}}" + "".join(f"{name:>{w}}" for name, w in widths.items())]
    shown: list[Mapping[str, Any]] = [*records[:limit], {"id": "mean", **means(records)}]
    for record in shown:
        cells = (
            f"{record[name]:>{w}.3f}" if name in record else " " * w for name, w in widths.items()
        )
        rows.append(f"{record['id']:<{width}}" + "".join(cells))
    if len(records) > limit:
        rows.insert(-1, f"... {len(records) - limit} more in results.csv")
    if missing:
        rows.append(f"{len(missing)} of {len(records) + len(missing)} images have no result")
    return "\n".join(rows)
