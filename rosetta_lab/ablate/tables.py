"""An ablation as CSV, as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rosetta_lab.ablate.results import MINUS, Row, interval, number, title
from rosetta_lab.ablate.units import ARMS, MATCHED, RANDOM, ROSETTA, Chosen
from rosetta_lab.files import atomic_write, write_csv
from rosetta_lab.run.terminal import table

HEADS = [
    "model", "figure", "arm", "units", "images", "scale", "lost", "low", "high", "least_draw",
    "most_draw", "beyond", "beyond_low", "beyond_high",
]  # fmt: skip
TABLE_NAME, RESULTS_NAME = "results.csv", "results.json"


def write_tables(folder: Path, rows: Sequence[Row], chosen: Mapping[str, Chosen]) -> None:
    """Write ``results.csv``, a line for every row, and ``results.json``, with the units, too."""
    write_csv(folder / TABLE_NAME, [HEADS, *(map(_line(row).get, HEADS) for row in rows)])
    record = {
        "rows": [asdict(row) for row in rows],
        "units": {
            name: {
                "layers": {layer.name: layer.channels for layer in own.index.layers},
                **{arm: [units.tolist() for units in draws] for arm, draws in own.arms.items()},
                "standing": {arm: _standing(own, arm) for arm in own.arms},
            }
            for name, own in chosen.items()
        },
    }
    atomic_write(folder / RESULTS_NAME, (json.dumps(record, indent=1) + "\n").encode())


def _line(row: Row) -> dict[str, str | int | float | None]:
    """A row of the CSV file."""
    line: dict[str, str | int | float | None] = {
        "model": row.model,
        "figure": row.figure,
        "arm": row.arm,
        "units": row.units,
        "scale": row.scale,
    }
    if row.draws:
        line |= {"least_draw": min(row.draws), "most_draw": max(row.draws)}
    if row.lost is not None:
        line |= {"images": row.lost.images, "lost": row.lost.mean}
        line |= {"low": row.lost.low, "high": row.lost.high}
    if row.beyond is not None:
        line |= {"beyond": row.beyond.mean, "beyond_low": row.beyond.low}
        line |= {"beyond_high": row.beyond.high}
    return line


def grouped(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Rows by model and figure, then by arm."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row.model, row.figure), {})[row.arm] = row
    return found


LOST_HEADS = ["", "scale", *ARMS.values(), "beyond matched", "beyond random"]
UNIT_HEADS = [
    "", "units", *(f"{kind}: {words}" for kind in ("mean", "variance") for words in ARMS.values())
]  # fmt: skip


def lost_cells(arms: Mapping[str, Row]) -> list[str]:
    """A figure's line: its scale, what every arm loses, and what Rosetta units lose beyond it."""
    own = arms[ROSETTA]
    scale = "" if own.scale is None else number(own.figure, own.scale)
    beyond = [interval(own.figure, arms[arm].beyond, "+") for arm in (MATCHED, RANDOM)]
    return [scale, *(arms[arm].text() for arm in ARMS), *beyond]


def unit_cells(chosen: Chosen) -> list[str]:
    """A model's line: how many units, and how those of every arm stand in their layers."""
    found = [_standing(chosen, arm) for arm in ARMS]
    standing = [f"{own[kind]:+.2f}".replace("-", MINUS) for kind in found[0] for own in found]
    return [f"{len(chosen.arms[ROSETTA][0]):,} of {len(chosen.index):,}", *standing]


def ablation_text(rows: Sequence[Row], chosen: Mapping[str, Chosen], level: float) -> str:
    """The tables as text."""
    lost = [
        [f"{model}: {title(figure)}", *lost_cells(arms)]
        for (model, figure), arms in grouped(rows).items()
    ]
    units = [[name, *unit_cells(own)] for name, own in chosen.items()]
    return "\n\n".join(
        [
            "What is lost when units are set to their mean over the mined images, "
            f"[{level:.0%} intervals over images] (least to most of the draws)\n"
            "scale: of the intact network; for outputs, how far those for two images are apart",
            table([LOST_HEADS, *lost]),
            "Mean and variance of these units, in standard deviations over their layers",
            table([UNIT_HEADS, *units]),
        ]
    )


def _standing(chosen: Chosen, arm: str) -> dict[str, float]:
    kinds = {"mean": chosen.mean, "variance": chosen.variance}
    return {kind: chosen.standing(arm, values) for kind, values in kinds.items()}
