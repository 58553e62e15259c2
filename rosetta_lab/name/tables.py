"""Names of concepts as CSV, as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rosetta_lab.dictionary.names import Name
from rosetta_lab.files import atomic_write, write_csv
from rosetta_lab.name.known import Checked
from rosetta_lab.run.terminal import table

TABLE_NAME, RESULTS_NAME = "names.csv", "results.json"
NONE = "\u2013"
HEADS = ["concept", "name", "score", "runner-up", "score", "chance"]
CHECKED_HEADS = [
    "", "concepts", "named", "right", "right by guessing", "true of its images", "of all images",
]  # fmt: skip
CROPS = {"strongest": "", "shuffled": ", of shuffled crops"}


def write_tables(
    folder: Path, names: Sequence[Name], shuffled: Sequence[Name], checked: Sequence[Checked]
) -> None:
    """Write ``names.csv``, a line for every concept, and ``results.json``, all that was found."""
    keys = list(Name.model_fields)
    write_csv(folder / TABLE_NAME, [keys, *([getattr(n, key) for key in keys] for n in names)])
    record = {
        "names": [name.model_dump() for name in names],
        "shuffled": [name.model_dump() for name in shuffled],
        "checked": [asdict(one) for one in checked],
    }
    atomic_write(folder / RESULTS_NAME, (json.dumps(record, indent=1) + "\n").encode())


def cells(name: Name) -> list[str]:
    """A concept's line; a word that is no name stands in parentheses."""
    second = name.runner_up_score
    return [
        str(name.concept),
        name.name or f"({name.word})",
        f"{name.score:.2f}",
        name.runner_up or NONE,
        NONE if second is None else f"{second:.2f}",
        f"{name.chance:.3f}",
    ]


def checked_cells(checked: Sequence[Checked]) -> list[list[str]]:
    """Lines of the check against what the images are known to show."""
    lines = []
    for one in checked:
        share, base = NONE, NONE
        if one.share is not None and one.base is not None:
            share = f"{one.share:.0%} [{one.low:.0%}, {one.high:.0%}]"
            base = f"{one.base:.0%}"
        words = "best of all words" if one.kind == "any" else f"{one.kind}s"
        counts = [f"{one.concepts:,}", f"{one.named:,}", f"{one.right:,}", f"{one.guessed:.1f}"]
        lines.append([f"{words}{CROPS[one.crops]}", *counts, share, base])
    return lines


def names_text(names: Sequence[Name], shuffled: Sequence[Name], checked: Sequence[Checked]) -> str:
    """All of it, for people."""
    named, by_chance = (sum(n.name is not None for n in some) for some in (names, shuffled))
    parts = [
        table([HEADS, *map(cells, names)]),
        f"{named:,} of {len(names):,} concepts have a name; of shuffled crops, {by_chance:,}.\n"
        "chance: how often lists of meaningless words, or sets of other crops, do as well; a word "
        "that is no\nname stands in parentheses. Scores are standard deviations over other crops.",
    ]
    if checked:
        parts.append(
            "Against what other images than those named by are known to show\n"
            + table([CHECKED_HEADS, *checked_cells(checked)])
        )
    return "\n\n".join(parts)
