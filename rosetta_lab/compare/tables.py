"""A comparison as CSV files and as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rosetta_lab.compare.comparison import Comparison, Row
from rosetta_lab.files import write_csv
from rosetta_lab.invert.figures import LOSS, Figure
from rosetta_lab.run.terminal import table

Reference = Mapping[str, Mapping[str, float]]  # name of a row to figures by name


def write_tables(folder: Path, comparison: Comparison) -> None:
    """Write three tables.

    ``comparison.csv`` has a row for every run and figure, ``runs.csv`` a row for every run (its
    parameters and mean figures), ``images.csv`` a row for every image and run.
    """
    keys = list(comparison.arms[0].parameters)
    names = [kind.name for kind in comparison.figures]
    of_row = ("images", "mean", "low", "high", "gain", "gain_low", "gain_high", "wins", "ties")
    write_csv(
        folder / "comparison.csv",
        [
            ["run", *keys, "figure", *of_row],
            *(
                [row.arm.name, *row.arm.parameters.values(), row.figure.name]
                + [getattr(row, column) for column in of_row]
                for row in comparison.rows
            ),
        ],
    )
    write_csv(
        folder / "runs.csv",
        [
            ["run", "folder", *keys, *names],
            *(
                [arm.name, str(arm.folder), *arm.parameters.values()]
                + [row.mean for name in names if (row := comparison.row(arm, name))]
                for arm in comparison.arms
            ),
        ],
    )
    write_csv(
        folder / "images.csv",
        [
            ["id", "label", "run", *names],
            *(
                [name, record.get("label"), arm.name, *(record.get(column) for column in names)]
                for name in comparison.ids
                for arm in comparison.arms
                if (record := arm.records[name])
            ),
        ],
    )


def judging(comparison: Comparison) -> list[Figure]:
    """The figures that judge images; losses stand in the CSV files alone."""
    return [kind for kind in comparison.figures if not kind.name.startswith(LOSS)]


def cells(row: Row) -> tuple[str, str, str]:
    """A row as text: mean and interval, gain and interval, wins."""
    text = row.figure.text
    mean = f"{text(row.mean)} [{text(row.low)}, {text(row.high)}]"
    if row.gain is None or row.gain_low is None or row.gain_high is None or row.wins is None:
        return mean, "baseline", ""
    digits = row.figure.digits
    gain = f"{row.gain:+.{digits}f} [{row.gain_low:+.{digits}f}, {row.gain_high:+.{digits}f}]"
    return mean, gain, f"{row.wins:,} of {row.images:,} ({row.wins / row.images:.0%})"


def figure_rows(
    comparison: Comparison, kind: Figure, reference: Reference
) -> list[tuple[str, str, str, str]]:
    """Rows of the table of one figure: name, mean, gain, wins; what others measured below."""
    ordered = [arm for group in comparison.groups for arm in group]
    found = [(arm.name, *cells(row)) for arm in ordered if (row := comparison.row(arm, kind.name))]
    return found + [
        (name, kind.text(values[kind.name]), "", "")
        for name, values in reference.items()
        if kind.name in values
    ]


def comparison_text(comparison: Comparison, reference: Reference, level: float) -> str:
    """The comparison as text, one block for every figure."""
    blocks = [
        f"{len(comparison.ids):,} images; [{level:.0%} intervals]; a positive gain is better, "
        "whichever way the figure goes"
    ]
    for kind in judging(comparison):
        heads = (kind.title, "mean", "gain", "better on")
        blocks.append(table([heads, *figure_rows(comparison, kind, reference)]))
    return "\n\n".join(blocks)
