"""What an edit shows: tables and a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.links import link_to_dictionary
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.edit.arms import EditRun
from rosetta_lab.edit.numbers import (
    ARMS,
    TITLES,
    asked_figures,
    asked_words,
    figure_names,
    figure_text,
    mean_text,
    write_table,
)
from rosetta_lab.edit.page.pictures import map_pictures, write_animation, write_grid
from rosetta_lab.edit.verdict import leading, verdicts
from rosetta_lab.pages.charts import course
from rosetta_lab.pages.document import PAGE_NAME, write_document

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
    write_table(folder / TABLE_NAME, run)
    write_grid([run.before, *(arm.images for arm in run.arms.values())], folder / GRID_NAME)
    for arm_name, arm in run.arms.items():
        for place, name in enumerate(run.sources.ids):
            if arm.frames:
                frames = [frame[place] for frame in arm.frames]
                write_animation(frames, folder / "results" / name / _file(arm_name, "gif"))
    return write_document(
        folder / PAGE_NAME,
        "edit.html.j2",
        title=f"{edit_words(cfg)} through {dictionary.reference.name}",
        generator=dictionary.reference.name,
        cfg=cfg,
        images=len(run.sources.ids),
        arms=len(run.arms),
        start=run.edit.start,
        asked=asked_words(run.edit),
        units=_units(cfg),
        whose=_whose(run, cfg),
        link=link_to_dictionary(cfg.get("dictionary"), folder),
        concepts=list(cfg.get("concepts") or ()),
        verdicts=verdicts(run),
        shares=_shares(run),
        cards={name: _pictures(run, place, name) for place, name in enumerate(run.sources.ids)},
        numbers=_numbers(run),
        maps=_maps(folder, run),
        courses={
            f"{ARMS.get(arm, arm)}: {words}": course(curve, words)
            for arm, found in run.arms.items()
            for part, curve in found.curves.items()
            if (words := part.replace("_", " "))
        },
        grid_name=GRID_NAME,
        table_name=TABLE_NAME,
    )


def edit_words(cfg: Any) -> str:
    """The edits of a configuration by name: ``Zoom, then shift``."""
    words = ", then ".join(str(name).replace("_", " ") for name in cfg.edit)
    return words[:1].upper() + words[1:]


def _file(arm: str, kind: str) -> str:
    return f"{arm.replace(' ', '_')}.{kind}"


def _units(cfg: Any) -> str:
    """Whose maps were changed, in words."""
    chosen = [
        f"{key if len(cfg[key]) > 1 else key[:-1]} {', '.join(map(str, cfg[key]))}"
        for key in ("concepts", "neurons", "layers")
        if cfg[key] is not None
    ]
    return f"the units of {' and '.join(chosen)}" if chosen else "the matched units"


def _whose(run: EditRun, cfg: Any) -> str:
    """Whose maps were changed, and what matching has to do with it."""
    if cfg.origin == "models":
        where = "" if run.sources.pictures is None else ", looking at the pictures themselves"
        return f"The changed maps are those of the models\u2019 matched units{where}."
    text = "The changed maps are the generator\u2019s own."
    if run.edit.strength:
        return text
    return (
        f"{text} Any of its units carries place, so that a move needs no match: "
        "random units do as well."
    )


def _shares(run: EditRun) -> dict[str, str]:
    """The figures that speak of what was asked, for every way to edit."""
    return {
        f"{TITLES[name]}: {ARMS.get(arm, arm)}": text
        for name in leading(run)
        for arm, found in run.arms.items()
        if (text := mean_text(found, name, _text(name)))
    }


@dataclass
class Picture:
    """A picture on a card.

    Attributes:
        caption: above it.
        source: its address.
        text: for those who cannot see it.
        figures: below it, by title.
        way: address of an animation that shows how it came about.
        tip: said when pointed at.
    """

    caption: str
    source: str
    text: str
    figures: dict[str, str] = field(default_factory=dict)
    way: str = ""
    tip: str = ""


def _pictures(run: EditRun, place: int, name: str) -> list[Picture]:
    """An image before the edit and after each way to do it."""
    root = f"results/{quote(name)}"
    pictures = [Picture("before", f"{root}/before.png", f"{name} before")]
    if run.sources.pictures is not None:
        pictures.insert(0, Picture("picture", f"{root}/picture.png", f"{name}, the picture"))
    for arm_name, arm in run.arms.items():
        source, title = f"{root}/{_file(arm_name, 'png')}", ARMS.get(arm_name, arm_name)
        row = arm.figures[place]
        figures = {TITLES[key]: figure_text(key, row[key]) for key in _ON_CARDS if key in row}
        way = f"{root}/{_file(arm_name, 'gif')}" if arm.frames else ""
        pictures.append(Picture(title, source, f"{name}, {title}", figures, way))
    return pictures


def _numbers(run: EditRun) -> list[list[str]]:
    """Heads of a table, what was asked for, and the means of every way to edit."""
    names = figure_names(run)
    asked = asked_figures(run.edit)
    return [
        ["", *(TITLES.get(name, name) for name in names)],
        ["asked for", *(_text(name)(asked[name]) if name in asked else "" for name in names)],
        *(
            [ARMS.get(arm, arm), *(mean_text(found, name, _text(name)) for name in names)]
            for arm, found in run.arms.items()
        ),
    ]


def _text(name: str) -> Callable[[float], str]:
    return partial(figure_text, name)


def _maps(folder: Path, run: EditRun) -> list[tuple[str, str, list[Picture]]]:
    """Units and images with pictures of the target maps, which are written."""
    cards = []
    for unit, (title, *maps) in enumerate(run.maps):
        cells = " \u00d7 ".join(map(str, maps[0].shape[-2:]))
        for place, name in enumerate(run.sources.ids[:SHOWN_MAPS]):
            pictures = []
            drawn = map_pictures(*(found[place] for found in maps))
            for kind, picture in zip(("before", "asked for", "reached"), drawn, strict=True):
                source = f"maps/{unit}-{place}-{kind.split()[0]}.png"
                write_image(picture, folder / source)
                text = f"{title} on {name}, {kind}"
                tip = f"{title}\n{name}, {kind}\nmap of {cells} cells"
                pictures.append(Picture(kind, source, text, tip=tip))
            cards.append((title, name, pictures))
    return cards
