"""How well the nearest images are alike, as numbers, as text and as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rosetta_lab.files import write_csv
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.functional.retrieval import (
    Relevant,
    base_rate,
    directions,
    nearest_images,
    precision,
)
from rosetta_lab.retrieve.vectors import Vectors

TABLE_NAME = "precision.csv"
WHOLE, LAYOUT = "image", "layout"
KINDS = {WHOLE: "Nearest images", LAYOUT: "Nearest layouts"}
CHANCE = "any other image"


@dataclass
class Row:
    """How many of the nearest images by one kind of vectors are alike in something.

    Attributes:
        kind: ``image`` or ``layout``.
        vectors: their name.
        size: how many numbers they have; 0 for chance.
        alike: in what.
        mean: share of the nearest images, mean over the queries, and over the draws.
        low: lower end of its interval over queries.
        high: upper end.
        draws: means of every draw, where there are several.
    """

    kind: str
    vectors: str
    size: int
    alike: str
    mean: float
    low: float
    high: float
    draws: tuple[float, ...] = ()

    def text(self) -> str:
        """Mean, interval and, of several draws, the least and the most."""
        ends = f" ({min(self.draws):.1%} to {max(self.draws):.1%})" if self.draws else ""
        return f"{self.mean:.1%} [{self.low:.1%}, {self.high:.1%}]{ends}"


def neighbours_of(vectors: Vectors, count: int) -> dict[str, dict[str, list[Tensor]]]:
    """The nearest images by kind, name and draw: (N, count) each."""
    kinds = {WHOLE: vectors.whole, LAYOUT: vectors.layout}
    return {
        kind: {
            name: [nearest_images(directions(draw), count) for draw in draws]
            for name, draws in of_kind.items()
        }
        for kind, of_kind in kinds.items()
    }


def rows_of(
    vectors: Vectors,
    near: Mapping[str, Mapping[str, Sequence[Tensor]]],
    alike: Mapping[str, Relevant],
    resamples: int,
    level: float,
    seed: int,
) -> list[Row]:
    """Precision of all vectors by all that is known of the images, and of chance.

    Args:
        vectors: of the images.
        near: of :func:`neighbours_of`.
        alike: who is alike, by what.
        resamples: of the bootstrap over queries.
        level: of its intervals.
        seed: of the bootstrap.
    """
    rows = []
    for name, relevant in alike.items():
        for kind, of_kind in near.items():
            shares, sizes = {}, {}
            for vector, draws in of_kind.items():
                shares[vector] = torch.stack([precision(draw, relevant) for draw in draws])
                own = vectors.whole if kind == WHOLE else vectors.layout
                sizes[vector] = own[vector][0].shape[1]
            images = len(next(iter(of_kind.values()))[0])
            shares[CHANCE], sizes[CHANCE] = base_rate(images, relevant)[None], 0
            columns = torch.stack([share.mean(dim=0) for share in shares.values()], dim=1)
            found = bootstrap_means(columns, resamples, level, seed)
            for place, (vector, share) in enumerate(shares.items()):
                draws_of = tuple(share.mean(dim=1).tolist()) if len(share) > 1 else ()
                mean, low, high = (float(x[place]) for x in found)
                rows.append(Row(kind, vector, sizes[vector], name, mean, low, high, draws_of))
    return rows


def tables(rows: Sequence[Row]) -> dict[str, list[list[str]]]:
    """By kind, a table with heads: a line for every vector, a column for every likeness."""
    alike = list(dict.fromkeys(row.alike for row in rows))
    found = {}
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [row for row in rows if row.kind == kind]
        lines = [["", "numbers", *alike]]
        for vector in dict.fromkeys(row.vectors for row in own):
            of_vector = {row.alike: row for row in own if row.vectors == vector}
            size = next(iter(of_vector.values())).size
            lines.append(
                [vector, f"{size:,}" if size else "", *(of_vector[x].text() for x in alike)]
            )
        found[kind] = lines
    return found


def precision_text(rows: Sequence[Row], nearest: int, level: float) -> str:
    """The tables as text."""
    if not rows:
        return "Nothing is known of these images that nearest ones could be alike in."
    parts = [
        f"Share of the {nearest} nearest images that are alike, [{level:.0%} intervals over "
        "queries] (least to most of the draws)"
    ]
    for kind, lines in tables(rows).items():
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = (
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        parts.append("\n".join([KINDS[kind], *aligned]))
    return "\n\n".join(parts)


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write ``precision.csv``."""
    heads = [
        "kind",
        "vectors",
        "numbers",
        "alike",
        "mean",
        "low",
        "high",
        "least_draw",
        "most_draw",
    ]
    lines = [
        [row.kind, row.vectors, row.size, row.alike, row.mean, row.low, row.high,
         min(row.draws, default=""), max(row.draws, default="")]
        for row in rows
    ]  # fmt: skip
    write_csv(folder / TABLE_NAME, [heads, *lines])
