"""What a run of inversions shows: a table, curves for the loggers, a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger

from rosetta_lab.files import atomic_write
from rosetta_lab.results import Results


def figures(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the figures that any record has, in order; losses last."""
    names = dict.fromkeys(
        name for record in records for name in record if name not in ("id", "label")
    )
    return sorted(names, key=lambda name: name.startswith("loss/"))


def means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every figure over the records that have it."""
    return {
        name: sum(values) / len(values)
        for name in figures(records)
        if (values := [record[name] for record in records if name in record])
    }


def write_table(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures of every image as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["id", "label", *figures(records)], restval="")
    writer.writeheader()
    writer.writerows(records)
    atomic_write(path, stream.getvalue().encode())


def summary_table(records: Sequence[Mapping[str, Any]], limit: int = 12) -> str:
    """A plain-text table: some images, then the mean of all."""
    names = [name for name in figures(records) if not name.startswith("loss/")]
    width = max(8, *(len(record["id"]) for record in records[:limit]))
    rows = [f"{'image':<{width}}" + "".join(f"{name:>{max(9, len(name) + 2)}}" for name in names)]
    shown: list[Mapping[str, Any]] = [*records[:limit], {"id": "mean", **means(records)}]
    for record in shown:
        cells = (
            f"{record[name]:>{max(9, len(name) + 2)}.3f}" if name in record else " " * 9
            for name in names
        )
        rows.append(f"{record['id']:<{width}}" + "".join(cells))
    if len(records) > limit:
        rows.insert(-1, f"... {len(records) - limit} more in results.csv")
    return "\n".join(rows)


def log_curves(
    loggers: Iterable[Logger], results: Results, records: Sequence[Mapping[str, Any]]
) -> None:
    """Give loggers the mean course of every part of the loss, and the mean figures."""
    curves = [results.curves(record["id"]) for record in records]
    courses = {part: torch.stack([c[part] for c in curves]).mean(dim=0) for part in curves[0]}
    for logger in loggers:
        for step in range(len(courses["total"])):
            scalars = {f"loss/{part}": float(course[step]) for part, course in courses.items()}
            logger.log_metrics(scalars, step)
        logger.log_metrics(
            {f"mean/{name}": value for name, value in means(records).items() if "/" not in name},
            len(courses["total"]),
        )
        logger.finalize("success")


def write_inversions(
    folder: Path, results: Results, records: Sequence[Mapping[str, Any]], cfg: Any, dictionary: Any
) -> Path:
    return folder / 'index.html'
