"""Named concepts as a static page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.mined import MinedModels
from rosetta_lab.dictionary.names import FILE_NAME, Name
from rosetta_lab.name.heat import Shown, weighted
from rosetta_lab.name.known import Checked
from rosetta_lab.name.naming import Scored
from rosetta_lab.name.tables import CHECKED_HEADS, RESULTS_NAME, TABLE_NAME, cells, checked_cells
from rosetta_lab.pages.document import PAGE_NAME, asset, write_document
from rosetta_lab.pages.overlays import CELL, normalise, overlay

COLUMNS = 4  # crops of a concept that the page shows


def write_names(
    folder: Path,
    names: Sequence[Name],
    shuffled: Sequence[Name],
    checked: Sequence[Checked],
    shown: Shown,
    scored: Scored,
    mined: MinedModels,
    cfg: Any,
) -> Path:
    """Write ``index.html`` and its pictures.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    for concept in range(len(names)):
        picture = _picture(shown, scored.crops[concept, :COLUMNS], concept)
        write_image(picture, folder / _file(concept))
    dictionary = mined.dictionary
    return write_document(
        folder / PAGE_NAME,
        "names.html.j2",
        reference=dictionary.reference.name,
        models=list(dictionary.discriminative),
        cards=[
            (name, cells(name), _file(name.concept), len(dictionary.concepts[name.concept].neurons))
            for name in names
        ],
        named=sum(name.name is not None for name in names),
        by_chance=sum(name.name is not None for name in shuffled),
        images=len(shown.images),
        heads=CHECKED_HEADS,
        checked=checked_cells(checked),
        files=[FILE_NAME, TABLE_NAME, RESULTS_NAME],
        cfg=cfg,
        script=asset("names.js"),
    )


def _file(concept: int) -> str:
    return f"pictures/concept-{concept}.png"


def _picture(shown: Shown, crops: Tensor, concept: int) -> Tensor:
    """A concept's crops above their heat (3, 2 * CELL, n * CELL)."""
    images, heat = shown.images[crops], shown.heat[crops, concept]
    rows = [
        F.interpolate(weighted(images, heat), (CELL, CELL), mode="bilinear"),
        overlay(F.interpolate(images, (CELL, CELL), mode="bilinear"), normalise(heat)),
    ]
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
