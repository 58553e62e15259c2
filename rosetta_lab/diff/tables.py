"""A comparison of models as text and as CSV files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from rosetta_lab.diff.coverage import Coverage
from rosetta_lab.diff.run import Difference, Pair, Telling
from rosetta_lab.files import write_csv
from rosetta_lab.functional.alignment import Alignment
from rosetta_lab.functional.matching import NOBODY
from rosetta_lab.run.terminal import table

UNITS_NAME, COVERAGE_NAME = "units.csv", "coverage.csv"
COVERAGE_HEADS = [
    "units of",
    "in",
    "units",
    "with a partner",
    "in shuffled images",
    "mean nearest r",
]
ALIGNMENT_HEADS = ["models", "alignment", "permuted", "threshold", "p", "calibrated"]
FACTOR_HEADS = ["units of", "in", "without a partner", "with one", "superiority", "chance", "p"]


def coverage_rows(found: Difference) -> Iterator[list[str]]:
    """Of every ordered pair of models: how many units have a partner, and what chance gives."""
    for (a, b), one in found.coverage.items():
        near = float(one.r[one.alive].mean()) if one.alive.any() else math.nan
        yield [
            a, b, f"{int(one.alive.sum()):,}", f"{one.share:.1%}", f"{one.decoys:.1%}",
            f"{near:.2f}",
        ]  # fmt: skip


def coverage_table(found: Difference) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the matrix: units of the row's model with a partner in the column's."""
    names = list(found.units)
    rows = []
    for a in names:
        cells = [_covered(found.coverage[a, b]) if a != b else "" for b in names]
        rows.append([a, *cells])
    return ["", *names], rows


def _covered(one: Coverage) -> str:
    return f"{one.share:.0%} (chance {one.decoys:.1%})"


def alignment_rows(found: Mapping[Pair, Alignment]) -> list[list[str]]:
    """A score of every two models, beside permuted images."""
    return [
        [f"{a}, {b}", *(f"{value:.3f}" for value in (x.score, x.chance, x.threshold)),
         f"{x.p:.2g}", f"{x.calibrated:.3f}"]
        for (a, b), x in found.items()
    ]  # fmt: skip


def factor_rows(found: Mapping[Pair, Telling]) -> list[list[str]]:
    """How much units without a partner tell of a factor, of every ordered pair of models."""
    return [
        [a, b, *("" if math.isnan(v) else f"{v:.3f}" for v in x[:4]), f"{x.p:.2g}"]
        for (a, b), x in found.items()
    ]


def difference_text(found: Difference) -> str:
    """The tables as text."""
    parts = [
        "Units with a partner in another model: best buddies that shuffled images do not explain",
        table([COVERAGE_HEADS, *coverage_rows(found)]),
    ]
    for kind, of_pairs in found.alignment.items():
        parts += [f"Alignment: {kind}", table([ALIGNMENT_HEADS, *alignment_rows(of_pairs)])]
    for factor, telling in found.telling.items():
        title = f"What units tell of {factor}: share of their variance between groups of images"
        parts += [title, table([FACTOR_HEADS, *factor_rows(telling)])]
    return "\n\n".join(parts)


def write_tables(folder: Path, found: Difference) -> None:
    """Write ``coverage.csv`` and ``units.csv``, a line for every unit and every other model."""
    write_csv(folder / COVERAGE_NAME, [COVERAGE_HEADS, *coverage_rows(found)])
    heads = ["model", "other", "layer", "channel", "partner", "q", "nearest_layer"]
    heads += ["nearest_channel", "nearest_r", "nearest_q", *found.told]
    write_csv(folder / UNITS_NAME, [heads, *_units(found)])


def _units(found: Difference) -> Iterator[list[object]]:
    for (a, b), one in found.coverage.items():
        for unit in one.alive.nonzero().flatten().tolist():
            own, near = found.units[a][unit], int(one.nearest[unit])
            other = ("", "") if near == NOBODY else found.units[b][near]
            q, told = float(one.q[unit]), [float(x[a][unit]) for x in found.told.values()]
            yield [
                a, b, *own, int(one.partner[unit]), "" if math.isnan(q) else q, *other,
                float(one.r[unit]), float(one.q_nearest[unit]), *told,
            ]  # fmt: skip
