"""Sheets: images beside each other, and under them the maps of units laid over the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.page.sprites import Sprite
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.overlays import CELL, overlay
from rosetta_lab.visualize.view import Maps, Seen

Scales = dict[tuple[str, Unit], tuple[float, float]]


def scales(seen: Iterable[Seen]) -> Scales:
    """Lowest and highest value of every unit over all images that a page shows."""
    found: dict[tuple[str, Unit], list[Tensor]] = {}
    for one in seen:
        for key, maps in one.maps.items():
            found.setdefault(key, []).append(torch.stack([maps.amin(), maps.amax()]))
    return {
        key: (float(torch.stack(ends).amin()), float(torch.stack(ends).amax()))
        for key, ends in found.items()
    }


def join(one: Seen, other: Seen) -> Seen:
    """The images of both, beside each other."""
    maps: Maps = {key: torch.cat([maps, other.maps[key]]) for key, maps in one.maps.items()}
    return Seen([*one.names, *other.names], torch.cat([one.images, other.images]), maps)


def sheet(seen: Seen, scale: Scales, above: Sequence[Tensor] = ()) -> Sprite:
    """The picture of a sheet: a row of images, then a row for each unit.

    Args:
        seen: images and maps.
        scale: values with the darkest and the lightest colour.
        above: rows of other images (N, 3, R, R) before them.
    """
    *others, images = (_small(row) for row in (*above, seen.images))
    rows = [*others, images]
    for key, maps in seen.maps.items():
        low, high = scale[key]
        rows.append(overlay(images, (maps - low) / max(high - low, 1e-12)))
    pixels = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    return Sprite(pixels, list(range(len(seen.names))))


def _small(images: Tensor) -> Tensor:
    return F.interpolate(
        images.float(), (CELL, CELL), mode="bicubic", antialias=True
    ).clamp(0.0, 1.0)  # fmt: skip


def sheet_html(source: str, seen: Seen, dictionary: RosettaDictionary, heads: Sequence[str]) -> str:
    """A sheet's rows beside what they show.

    Args:
        source: address of its picture.
        seen: what is on it.
        dictionary: with the units' r.
        heads: what the rows of images are, from above; plain text.
    """
    columns, rows = len(seen.names), len(heads) + len(seen.maps)
    names = "".join(f"<span>{escape(name)}</span>" for name in seen.names)
    drawn = [
        f'<div class="row"><p><b>{escape(head)}</b></p>{_strip(source, place, head)}'
        + (f'<div class="captions">{names}</div>' if place == len(heads) - 1 else "")
        + "</div>"
        for place, head in enumerate(heads)
    ]
    r = {
        (neuron.unit, name, match.unit): match.r
        for neuron in dictionary.neurons
        for name, matches in neuron.matches.items()
        for match in matches
    }
    own = dictionary.generator.name
    current = None
    for place, (model, unit) in enumerate(seen.maps, start=len(heads)):
        current = unit if model == own else current
        score = "" if current is None or model == own else f"<i>{r[current, model, unit]:.2f}</i>"
        drawn.append(
            f'<div class="row"><p><b>{escape(model)}</b>{score}'
            f"<code>{escape(unit.layer)} · <b>{unit.channel}</b></code></p>"
            f"{_strip(source, place, f'Heatmaps of {model}')}</div>"
        )
    return (
        f'<div style="--columns: {columns}; --rows: {rows}; --ratio: 1; max-width: '
        f'{270 + 150 * columns}px">{"".join(drawn)}</div>'
    )


def _strip(source: str, row: int, text: str) -> str:
    return (
        f'<span class="strip" style="--y: {row}"><img src="{escape(source)}" '
        f'alt="{escape(text)}" loading="lazy"></span>'
    )
