"""The page of a sweep of mining runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from PIL import Image

from rosetta_lab.mine.page.concepts import image_name
from rosetta_lab.mine.page.examples import COLUMNS
from rosetta_lab.pages.charts import growth, meetings
from rosetta_lab.pages.document import PAGE_NAME, link_to, write_document

if TYPE_CHECKING:
    from rosetta_lab.mine.sweep import SweptRun

SHOWN = 16  # concepts of a run


@dataclass
class Tile:
    """A concept of a run: its number and score, its picture, and how that is divided."""

    number: int
    score: float
    picture: str
    columns: int
    rows: int
    ratio: float


@dataclass
class Card:
    """A run with its best concepts, and the address of its page."""

    name: str
    address: str
    concepts: int
    tiles: list[Tile]


def write_sweep(
    folder: Path, runs: Sequence[SweptRun], table: Sequence[Sequence[str]], table_name: str
) -> Path:
    """Write ``index.html``; pictures are those of the runs.

    Args:
        folder: of the sweep.
        runs: in order.
        table: of their figures, heads first.
        table_name: the same as a file beside the page.

    Returns:
        The path of the page.
    """
    names = [run.name for run in runs]
    units = [{neuron.unit for neuron in run.dictionary.neurons} for run in runs]
    return write_document(
        folder / PAGE_NAME,
        "mining_sweep.html.j2",
        reference=runs[0].dictionary.reference.name,
        cards=[_card(run, folder) for run in runs],
        table=table,
        table_name=table_name,
        course=_course(runs),
        shared=meetings([[len(one & two) for two in units] for one in units], names, names),
    )


def _card(run: SweptRun, folder: Path) -> Card:
    found = run.dictionary
    tiles = []
    for concept in found.concepts[:SHOWN]:
        picture = run.folder / image_name(concept.representative)
        address = link_to(picture, folder)
        if not address:
            continue
        with Image.open(picture, formats=["WEBP"]) as image:
            rows = 2 + len(found.discriminative)
            columns = min(COLUMNS, found.num_images, found.config.get("page_images", COLUMNS))
            ratio = (image.width / columns) / (image.height / rows)
        tiles.append(Tile(concept.id, concept.score, address, columns, rows, ratio))
    page = link_to(run.folder / PAGE_NAME, folder)
    return Card(run.name, page, len(found.concepts), tiles)


def _course(runs: Sequence[SweptRun]) -> Markup | None:
    """Counts by the one number that the runs differ in, such as k; None where they do in more."""
    try:
        ((key, places),) = _varied(runs).items()
        points = sorted(zip(map(float, places), runs, strict=True), key=lambda point: point[0])
    except ValueError:
        return None
    nulls = [run.dictionary.summary.get("null") for _, run in points]
    if not all(nulls):
        return None
    counts = {
        "Rosetta neurons": [float(len(run.dictionary.neurons)) for _, run in points],
        "by the paper's rule": [float(null["candidates"]) for null in nulls if null],
        "among shuffled images": [
            float(null["shuffled_rosetta_neurons"]) for null in nulls if null
        ],
    }
    return growth([place for place, _ in points], counts, key)


def _varied(runs: Sequence[SweptRun]) -> dict[str, list[str]]:
    return {key: [run.chosen[key] for run in runs] for key in runs[0].chosen}
