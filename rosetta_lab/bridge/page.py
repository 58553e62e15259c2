"""A bridge as a static page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_lab.bridge.joined import Bridge
from rosetta_lab.bridge.kept import Kept, table
from rosetta_lab.bridge.overlaps import Overlap
from rosetta_lab.bridge.pictures import draw_units, leading
from rosetta_lab.bridge.tables import (
    JOINS_NAME,
    OVERLAP_HEADS,
    RESULTS_NAME,
    counts,
    overlap_rows,
)
from rosetta_lab.bridge.transfer import ARMS, Transferred
from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.document import PAGE_NAME, write_document


@dataclass
class Card:
    """A join on the page.

    Attributes:
        units: of either generator.
        pictures: of them.
        strength: of the join, as text.
        q: likewise.
        shared: by model, the unit that joins them, and its part of the strength, as text.
    """

    units: tuple[Unit, Unit]
    pictures: tuple[str, str]
    strength: str
    q: str
    shared: list[tuple[str, Unit, str]]


def write_bridge(
    folder: Path,
    bridge: Bridge,
    mined: tuple[Mined, Mined],
    found: Sequence[Overlap],
    transferred: Sequence[Transferred],
    kept: Sequence[Kept],
    cfg: Any,
) -> Path:
    """Write ``index.html`` and its pictures.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    rows = table(list(kept)) if kept else []
    return write_document(
        folder / PAGE_NAME,
        "bridge.html.j2",
        generators=[bridge.first.reference.name, bridge.second.reference.name],
        models=bridge.models,
        counts=counts(bridge),
        transfers=[
            (one, _pictures(folder, place, one, cfg.pictures))
            for place, one in enumerate(transferred)
        ],
        cards=_cards(folder, bridge, mined, cfg.shown),
        heads=rows[:1],
        kept=rows[1:],
        overlap_heads=[
            *("pool", "model", *OVERLAP_HEADS[:5]),
            *(f"{head}, shuffled" for head in OVERLAP_HEADS[5:]),
        ],
        overlaps=overlap_rows(found),
        joins_name=JOINS_NAME,
        results_name=RESULTS_NAME,
        cfg=cfg,
    )


def _pictures(
    folder: Path, number: int, one: Transferred, count: int
) -> list[list[tuple[str, str]]]:
    """Caption and path of every picture, image by image."""
    columns = {one.source: one.images} | {
        f"{one.target}, {words}": one.results[arm] for arm, words in ARMS.items()
    }
    cards = []
    for place in range(min(count, len(one.ids))):
        card = []
        for column, (caption, images) in enumerate(columns.items()):
            name = f"pictures/transfer-{number}-{place}-{column}.png"
            write_image(images[place], folder / name)
            card.append((caption, name))
        cards.append(card)
    return cards


def _cards(folder: Path, bridge: Bridge, mined: tuple[Mined, Mined], count: int) -> list[Card]:
    shown = leading(bridge.accepted, count)
    if not len(shown.pairs):
        return []
    names = [
        draw_units(folder, side, one, shown.pairs[:, column])
        for column, (side, one) in enumerate(zip(("first", "second"), mined, strict=True))
    ]
    own, other = (dictionary.reference.units for dictionary in (bridge.first, bridge.second))
    every = zip(map(tuple, bridge.joins.pairs.tolist()), bridge.q.tolist(), strict=True)
    q: dict[tuple[int, ...], float] = dict(every)
    cards = []
    for place, (a, b) in enumerate(shown.pairs.tolist()):
        shared = [
            (
                name,
                bridge.first.discriminative[name].units[int(shown.units[place, column])],
                f"{float(shown.products[place, column]):.2f}",
            )
            for column, name in enumerate(bridge.models)
            if shown.units[place, column] >= 0
        ]
        cards.append(
            Card(
                (own[a], other[b]),
                (names[0][place], names[1][place]),
                f"{float(shown.strength[place]):.2f}",
                f"{q[a, b]:.2g}",
                shared,
            )
        )
    return cards
