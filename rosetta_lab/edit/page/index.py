"""What an edit shows: tables and a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.edit.arms import EditRun
from rosetta_lab.edit.numbers import (
    ARMS,
    TITLES,
    arm_means,
    asked_figures,
    asked_words,
    csv_table,
    figure_names,
    figure_text,
)
from rosetta_lab.edit.page.pictures import map_pictures, write_animation, write_grid
from rosetta_lab.files import atomic_write
from rosetta_lab.pages.document import PAGE_NAME, config_text, document, facts, plot, table
from rosetta_lab.pages.lines import course

TABLE_NAME, GRID_NAME = "results.csv", "grid.png"
SHOWN_MAPS = 2  # images whose target maps the page shows
_ON_CARDS = ("moved_share", "area", "hue_change", "class_kept", "concept_change", "others_change")


def write_edits(folder: Path, run: EditRun, cfg: Any, dictionary: RosettaDictionary) -> Path:
    """Write ``index.html``, ``results.csv`` and the pictures that the run did not write itself.

    Args:
        folder: the run folder, where :meth:`EditRun.save` has been.
        run: the edit and its controls.
        cfg: the run's configuration.
        dictionary: whose units were edited.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    atomic_write(folder / TABLE_NAME, csv_table(run).encode())
    write_grid([run.before, *(arm.images for arm in run.arms.values())], folder / GRID_NAME)
    for arm_name, arm in run.arms.items():
        for place, name in enumerate(run.sources.ids):
            if arm.frames:
                frames = [frame[place] for frame in arm.frames]
                write_animation(frames, folder / "results" / name / _file(arm_name, "gif"))
    sections = {
        "Before and after": _cards(run),
        "In numbers": _numbers(run),
        "Target maps": _maps(folder, run),
        "How the loss fell": _courses(run),
        "Do it again": _again(),
    }
    page = document(
        eyebrow="Edit",
        title=f"{edit_words(cfg)} through {dictionary.generator.name}",
        head=_lead(run, cfg, dictionary) + _facts(run),
        sections=sections,
        footer=f"<details><summary>How this edit was made</summary>{config_text(cfg)}</details>",
    )
    path = folder / PAGE_NAME
    atomic_write(path, page.encode())
    return path


def edit_words(cfg: Any) -> str:
    """The edits of a configuration by name: ``Zoom, then shift``."""
    words = ", then ".join(str(name).replace("_", " ") for name in cfg.edit)
    return words[:1].upper() + words[1:]


def _file(arm: str, kind: str) -> str:
    return f"{arm.replace(' ', '_')}.{kind}"


def _lead(run: EditRun, cfg: Any, dictionary: RosettaDictionary) -> str:
    count, asked = len(run.sources.ids), asked_words(run.edit)
    chosen = [
        f"{key} {', '.join(map(str, cfg[key]))}"
        for key in ("concepts", "neurons", "layers")
        if cfg[key] is not None
    ]
    of = f"the units of {' and '.join(chosen)}" if chosen else "the matched units"
    pictures = f"{count:,} image" + ("" if count == 1 else "s")
    shown = "It was" if count == 1 else "They were"
    start = ", from a random start" if run.edit.start == "random" else ""
    controls = " Other ways to do the same stand beside it." if len(run.arms) > 1 else ""
    return (
        f'<p class="lead">{pictures} of <b>{escape(dictionary.generator.name)}</b>, edited through '
        f"the maps of {escape(of)}.{f' Asked for: {escape(asked)}.' if asked else ''}</p>"
        f'<p class="method">{shown} not touched: the maps were changed, and then the latent was '
        f"searched for, in {cfg.steps:,} steps{start}, that makes the units fire as the changed "
        f"maps say.{controls}</p>"
    )


def _facts(run: EditRun) -> str:
    """The first figure that speaks of what was asked, for every way to edit."""
    known = figure_names(run)
    for name in ("moved_share", "concept_change", "area", "agreement"):
        if name not in known or (name == "area" and run.edit.scale is None):
            continue
        values = {arm: arm_means(found).get(name) for arm, found in run.arms.items()}
        return facts(
            {
                f"{TITLES[name]}: {ARMS.get(arm, arm)}": figure_text(name, value)
                for arm, value in values.items()
                if value is not None
            }
        )
    return ""


def _view(caption: str, source: str, text: str, more: str = "", still: str = "") -> str:
    """A picture; ``still`` takes its place for those who want nothing to move."""
    picture = f'<img src="{escape(source)}" alt="{escape(text)}" loading="lazy">'
    if still:
        media = "(prefers-reduced-motion: reduce)"
        picture = f'<picture><source srcset="{escape(still)}" media="{media}">{picture}</picture>'
    return (
        f'<figure class="view"><figcaption>{escape(caption)}</figcaption>{picture}{more}</figure>'
    )


def _cards(run: EditRun) -> str:
    cards = []
    for place, name in enumerate(run.sources.ids):
        root = f"results/{quote(name)}"
        views = [_view("before", f"{root}/before.png", f"{name} before")]
        if run.pictures is not None:
            views.insert(0, _view("picture", f"{root}/picture.png", f"{name}, the picture"))
        for arm_name, arm in run.arms.items():
            still = f"{root}/{_file(arm_name, 'png')}"
            title = ARMS.get(arm_name, arm_name)
            views.append(_view(title, still, f"{name}, {title}", _figures(arm.figures[place])))
            if arm_name == "rosetta" and arm.frames:
                moving = f"{root}/{_file(arm_name, 'gif')}"
                views.append(_view("on the way", moving, f"{name} on the way", still=still))
        cards.append(
            f'<article class="card"><h3>{escape(name)}</h3>'
            f'<div class="views">{"".join(views)}</div></article>'
        )
    return (
        f'<p class="note">All of them in one picture: <a href="{GRID_NAME}">{GRID_NAME}</a>.</p>'
        f'<div class="many">{"".join(cards)}</div>'
    )


def _figures(row: Mapping[str, float]) -> str:
    items = "".join(
        f"<div><dt>{escape(TITLES[name])}</dt><dd>{figure_text(name, row[name])}</dd></div>"
        for name in _ON_CARDS
        if name in row
    )
    return f"<dl>{items}</dl>" if items else ""


def _numbers(run: EditRun) -> str:
    names, asked = figure_names(run), asked_figures(run.edit)
    rows: list[Sequence[str]] = [
        ["asked for", *(figure_text(n, asked[n]) if n in asked else "" for n in names)]
    ]
    for arm_name, arm in run.arms.items():
        means = arm_means(arm)
        cells = (figure_text(n, means[n]) if n in means else "" for n in names)
        rows.append([ARMS.get(arm_name, arm_name), *cells])
    return (
        '<p class="note">Means over the images, read from the pictures: where the middle of what '
        "stands before the background went, how its area grew, whether the classifier still sees "
        f'the same class. Every image&rsquo;s own: <a href="{TABLE_NAME}">{TABLE_NAME}</a>.</p>'
        + table("Figures", ["", *(TITLES.get(name, name) for name in names)], rows)
    )


def _maps(folder: Path, run: EditRun) -> str:
    cards = []
    for unit, (title, *maps) in enumerate(run.maps):
        views = []
        for place, name in enumerate(run.sources.ids[:SHOWN_MAPS]):
            pictures = map_pictures(*(found[place] for found in maps))
            for kind, picture in zip(("before", "asked for", "reached"), pictures, strict=True):
                path = folder / "maps" / f"{unit}-{place}-{kind.split()[0]}.png"
                write_image(picture, path)
                text = f"{title} on {name}, {kind}"
                views.append(_view(f"{name} {kind}", os.path.relpath(path, folder), text))
        cards.append(
            f'<article class="card"><h3><code>{escape(title)}</code></h3>'
            f'<div class="views">{"".join(views)}</div></article>'
        )
    if not cards:
        return ""
    return (
        '<div class="legend"><p>Some of the edited units, cell by cell. What is asked '
        "for is what the search compares with.</p>"
        '<p class="scale"><span>lowest</span><i></i><span>highest</span> of a unit&rsquo;s '
        "three maps</p>"
        f'</div><div class="cards">{"".join(cards)}</div>'
    )


def _courses(run: EditRun) -> str:
    plots = [
        plot(f"{ARMS.get(arm_name, arm_name)}: {part.replace('_', ' ')}", course(curve, part))
        for arm_name, arm in run.arms.items()
        for part, curve in arm.curves.items()
    ]
    return (
        '<p class="note">Mean over the images at every step, before weighting (total: weighted); '
        f'the band is the middle half of the images.</p><div class="plots">{"".join(plots)}</div>'
    )


def _again() -> str:
    return (
        '<p class="note">The recipe in this folder gives the same pictures again:</p>'
        "<pre><code>python -m rosetta_lab.edit recipe=recipe.yaml</code></pre>"
    )
