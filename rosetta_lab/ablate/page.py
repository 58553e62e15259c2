"""An ablation as a static page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from rosetta_lab.ablate.results import Row, scaled, title
from rosetta_lab.ablate.tables import (
    LOST_HEADS,
    RESULTS_NAME,
    TABLE_NAME,
    UNIT_HEADS,
    grouped,
    lost_cells,
    unit_cells,
)
from rosetta_lab.ablate.units import ARMS, ROSETTA, Chosen
from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.pages.charts import Interval, intervals
from rosetta_lab.pages.document import PAGE_NAME, write_document


def write_ablation(
    folder: Path,
    rows: Sequence[Row],
    chosen: Mapping[str, Chosen],
    pictures: Mapping[str, Tensor],
    cfg: Any,
    dictionary: RosettaDictionary,
) -> Path:
    """Write ``index.html`` and its pictures.

    Args:
        folder: the run folder.
        rows: what was lost.
        chosen: the units, by model.
        pictures: of the generator (n, 3, R, R) in [0, 1]: intact, and by arm; empty without one.
        cfg: the run's configuration.
        dictionary: whose units were ablated.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    generator = dictionary.reference.name if pictures else None
    lost = grouped(rows)
    parts = {"models": [key for key in lost if key[0] != generator]}
    parts["generator"] = [key for key in lost if key[0] == generator]
    names = {"intact": "intact", **ARMS}
    for arm in names:
        for place, image in enumerate(pictures.get(arm, ())):
            write_image(image, folder / "pictures" / f"{arm}-{place}.png")
    return write_document(
        folder / PAGE_NAME,
        "ablation.html.j2",
        generator=generator,
        reference=dictionary.reference.name,
        neurons=len(dictionary.neurons),
        images=max((row.lost.of for row in rows if row.lost and row.model != generator), default=0),
        cfg=cfg,
        heads=LOST_HEADS,
        tables={
            part: [[_name(*key), *lost_cells(lost[key])] for key in keys]
            for part, keys in parts.items()
        },
        charts={
            part: {_name(*key): _chart(lost[key]) for key in keys if _told(lost[key])}
            for part, keys in parts.items()
        },
        units=[UNIT_HEADS, *([name, *unit_cells(own)] for name, own in chosen.items())],
        cards=[
            [(words, f"pictures/{arm}-{place}.png") for arm, words in names.items()]
            for place in range(len(pictures.get("intact", ())))
        ],
        table_name=TABLE_NAME,
        results_name=RESULTS_NAME,
    )


def _name(model: str, figure: str) -> str:
    return f"{model}: {title(figure)}"


def _told(arms: Mapping[str, Row]) -> bool:
    """Whether any image shows a figure."""
    return any(row.lost is not None for row in arms.values())


def _chart(arms: Mapping[str, Row]) -> Markup:
    """What is lost by arm: intervals over images, and between the least and the most of draws."""
    marks = []
    for arm, words in ARMS.items():
        row = arms[arm]
        if row.lost is None:
            continue
        ends = [(words, row.lost.low, row.lost.high)]
        if len(row.draws) > 1:
            ends.append((f"{words}, draws", min(row.draws), max(row.draws)))
        for name, low, high in ends:
            values = (scaled(row.figure, value) for value in (row.lost.mean, low, high))
            marks.append(Interval(name, *values))
    figure = arms[ROSETTA].figure
    return intervals(marks, _name(arms[ROSETTA].model, figure), title(figure))
