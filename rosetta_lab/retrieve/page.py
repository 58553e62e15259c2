"""Nearest images as a static page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.data.inputs import GivenImages
from rosetta_lab.files import atomic_write
from rosetta_lab.mine.page.sprites import Sprite
from rosetta_lab.pages.document import PAGE_NAME, write_document
from rosetta_lab.pages.overlays import CELL
from rosetta_lab.retrieve.results import KINDS, LAYOUT, TABLE_NAME, WHOLE, Row, tables
from rosetta_lab.retrieve.vectors import PIXELS, RANDOM, ROSETTA

COLUMNS = 6  # images that a row shows


def write_retrieval(
    folder: Path,
    inputs: GivenImages,
    near: Mapping[str, Mapping[str, Sequence[Tensor]]],
    rows: Sequence[Row],
    neurons: int,
    cfg: Any,
) -> Path:
    """Write ``index.html`` and its pictures.

    Args:
        folder: the run folder; the pictures go to ``page/`` inside it.
        inputs: the images.
        near: their nearest ones, by kind of vectors, name and draw.
        rows: how many of them are alike.
        neurons: of the dictionary.
        cfg: the run's configuration.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    source = torch.Generator().manual_seed(cfg.seed)
    queries = torch.randperm(len(inputs), generator=source)[: cfg.shown].tolist()
    own = [name for name in near[WHOLE] if name not in (ROSETTA, RANDOM, PIXELS)]
    ways = [(WHOLE, ROSETTA), (LAYOUT, ROSETTA), (LAYOUT, RANDOM), *((WHOLE, x) for x in own)]
    cards = []
    for place, query in enumerate(queries):
        found = [near[kind][name][0][query] for kind, name in ways]
        numbers = [[query, *nearest[:COLUMNS].tolist()] for nearest in found]
        picture = f"page/{place}.webp"
        atomic_write(folder / picture, _sprite(inputs, numbers).webp())
        cards.append(
            {
                "name": inputs.caption(query, None, None),
                "picture": picture,
                "rows": [(KINDS[kind], name) for kind, name in ways],
            }
        )
    return write_document(
        folder / PAGE_NAME,
        "retrieval.html.j2",
        images=len(inputs),
        neurons=neurons,
        cards=cards,
        columns=1 + min(COLUMNS, cfg.nearest),
        rows=len(ways),
        tables={KINDS[kind]: lines for kind, lines in tables(rows).items()},
        table_name=TABLE_NAME,
        cfg=cfg,
    )


def _sprite(inputs: GivenImages, numbers: Sequence[Sequence[int]]) -> Sprite:
    """Rows of images of these numbers."""
    strips = []
    for row in numbers:
        images = F.interpolate(
            inputs.batch(list(row)).image, (CELL, CELL), mode="bicubic", antialias=True
        ).clamp(0.0, 1.0)
        strips.append(torch.cat(list(images), dim=2))
    return Sprite(torch.cat(strips, dim=1), [])
