"""A comparison of models as a static page: what one has and the other lacks, in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.data.inputs import Inputs
from rosetta_lab.diff.coverage import concepts_of
from rosetta_lab.diff.run import Difference, Pair
from rosetta_lab.diff.tables import (
    ALIGNMENT_HEADS,
    COVERAGE_NAME,
    FACTOR_HEADS,
    UNITS_NAME,
    alignment_rows,
    coverage_table,
    factor_rows,
)
from rosetta_lab.files import atomic_write
from rosetta_lab.functional.matching import NOBODY
from rosetta_lab.mine.page.examples import COLUMNS
from rosetta_lab.mine.page.sprites import Sprite
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.document import PAGE_NAME, write_document
from rosetta_lab.pages.overlays import CELL, normalise, overlay, strongest

MOST = 3  # factors that a unit's card names
AT_A_TIME = 16  # images
Maps = dict[tuple[str, int], Tensor]  # of units, by model and number (E, h, w)


@dataclass
class Shown:
    """A concept of a model that another model lacks.

    Attributes:
        unit: of its units the one that is least near to any in the other model.
        nearest: what is nearest to it there, None for nothing.
        r: how near, its centred r.
        q: of the nearest.
        size: how many units without a partner the concept has.
        elsewhere: other models in which the unit has a partner.
        told: factors that it tells most of, with the correlation ratio.
        picture: of it, beside the page.
    """

    unit: Unit
    nearest: Unit | None
    r: float
    q: float
    size: int
    elsewhere: list[str]
    told: list[tuple[str, float]]
    picture: str


def shown_concepts(found: Difference, pair: Pair, most: int, k: int) -> list[tuple[int, Shown]]:
    """The concepts of a model without a partner in another one, and the number of each one's unit.

    First come those that most of the other models have, then those that are least near: what
    others share and this one lacks is more of a difference than what one model has alone.
    """
    own, model = found.coverage[pair], pair[0]
    others = {b: c for (a, b), c in found.coverage.items() if a == model and b != pair[1]}
    units = own.alone
    having = torch.stack([torch.zeros(len(own.alive)), *(c.partner for c in others.values())])
    order = having.sum(dim=0)[units].argsort(descending=True, stable=True)
    concepts = concepts_of(units[order], found.every.results[model].own, k)
    index, listed = found.units[model], []
    for place, concept in enumerate(concepts[:most]):
        unit, near = concept[0], int(own.nearest[concept[0]])
        told = sorted(((name, float(x[model][unit])) for name, x in found.told.items()),
                      key=lambda pair: -pair[1])  # fmt: skip
        listed.append(
            (
                unit,
                Shown(
                    index[unit],
                    None if near == NOBODY else found.units[pair[1]][near],
                    float(own.r[unit]),
                    float(own.q_nearest[unit]),
                    len(concept),
                    [name for name, one in others.items() if one.partner[unit]],
                    told[:MOST],
                    f"page/{_place(found, pair)}-{place}.webp",
                ),
            )
        )
    return listed


def _place(found: Difference, pair: Pair) -> int:
    return list(found.coverage).index(pair)


def write_difference(folder: Path, found: Difference, images: Tensor, maps: Maps, cfg: Any) -> Path:
    """Write ``index.html`` and its pictures.

    Args:
        folder: the run folder; the pictures go to ``page/`` inside it.
        found: what to show.
        images: examples (E, 3, H, W) in [0, 1].
        maps: of the shown units and what is nearest to them, see :func:`collect_maps`.
        cfg: the run's configuration.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    lists = _lists(found, cfg)
    small = F.interpolate(images, (CELL, CELL), mode="bicubic", antialias=True).clamp(0.0, 1.0)
    for (a, b), concepts in lists.items():
        for unit, shown in concepts:
            near = int(found.coverage[a, b].nearest[unit])
            rows = [maps[a, unit]] + ([maps[b, near]] if near != NOBODY else [])
            atomic_write(folder / shown.picture, _sprite(small, rows).webp())
    return write_document(
        folder / PAGE_NAME,
        "diff.html.j2",
        models=list(found.units),
        images=found.images,
        pairs=[
            {
                "model": a,
                "other": b,
                "coverage": found.coverage[a, b],
                "alone": len(found.coverage[a, b].alone),
                "concepts": [shown for _, shown in concepts],
            }
            for (a, b), concepts in lists.items()
        ],
        columns=min(COLUMNS, len(images)),
        coverage=coverage_table(found),
        alignment={kind: alignment_rows(of_pairs) for kind, of_pairs in found.alignment.items()},
        factors={name: factor_rows(of_pairs) for name, of_pairs in found.telling.items()},
        heads={"alignment": ALIGNMENT_HEADS, "factors": FACTOR_HEADS},
        units_name=UNITS_NAME,
        coverage_name=COVERAGE_NAME,
        cfg=cfg,
    )


def _sprite(images: Tensor, rows: Sequence[Tensor]) -> Sprite:
    """The images on which the first unit fires most, and units laid over them, a row each."""
    shown = strongest(rows[0], min(COLUMNS, len(images)))
    some = images[shown]
    strips = [some, *(overlay(some, normalise(own)[shown]) for own in rows)]
    return Sprite(torch.cat([torch.cat(list(row), dim=2) for row in strips], dim=1), shown)


def _lists(found: Difference, cfg: Any) -> dict[Pair, list[tuple[int, Shown]]]:
    return {pair: shown_concepts(found, pair, cfg.shown, cfg.k) for pair in found.coverage}


@torch.no_grad()
def collect_maps(
    found: Difference, observer: Observer, inputs: Inputs, cfg: Any
) -> tuple[Tensor, Maps]:
    """Show the first images once more and keep what the page shows.

    Args:
        found: what was found.
        observer: the models.
        inputs: the images.
        cfg: the run's configuration.

    Returns:
        The images (E, 3, H, W), and maps (E, h, w) by model and number of unit.
    """
    wanted: dict[str, set[int]] = {name: set() for name in found.units}
    for (a, b), concepts in _lists(found, cfg).items():
        for unit, _ in concepts:
            wanted[a].add(unit)
            wanted[b] |= {int(found.coverage[a, b].nearest[unit])} - {NOBODY}
    maps: dict[tuple[str, int], list[Tensor]] = {}

    def keep(model: str, layer: str, activation: Tensor) -> None:
        start = int(found.units[model].units(layer).start)
        for unit in wanted[model] & set(range(start, start + activation.shape[1])):
            seen = activation[:, unit - start].to("cpu", torch.float32, copy=True)
            maps.setdefault((model, unit), []).append(seen)

    count, images = min(cfg.page_images, len(inputs)), []
    for start in range(0, count, AT_A_TIME):
        batch = inputs.batch(list(range(start, min(start + AT_A_TIME, count))))
        images.append(observer(batch, keep).images.cpu())
    return torch.cat(images), {key: torch.cat(parts) for key, parts in maps.items()}
