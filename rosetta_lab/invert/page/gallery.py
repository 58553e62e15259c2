"""The gallery of inverted images: what the page's script shows, and the choices above it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rosetta_lab.invert.figures import AFTER, Figure
from rosetta_lab.invert.page.differences import DIFFERENCE, write_difference
from rosetta_lab.invert.results import IMAGE, TARGET, TUNED_IMAGE, Results


@dataclass
class Shown:
    """The results of one run in a gallery.

    Attributes:
        name: of the run.
        results: its images.
        records: id to figures, of every image that the gallery shows.
    """

    name: str
    results: Results
    records: Mapping[str, Mapping[str, Any]]


def write_differences(runs: Sequence[Shown]) -> None:
    """Write the difference maps that are not there yet."""
    for run in runs:
        for name in run.records:
            folder = run.results.root / name
            write_difference(folder / TARGET, folder / IMAGE, folder / DIFFERENCE)


def class_name(label: int | None, names: Sequence[str] | None) -> str:
    """A class's name, its number where that has none, nothing where it is unknown."""
    if label is None:
        return ""
    return str(names[label]) if names and 0 <= label < len(names) else f"class {label}"


def gallery_data(
    folder: Path,
    runs: Sequence[Shown],
    figures: Sequence[Figure],
    class_names: Sequence[str] | None,
    baselines: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What the script needs.

    Args:
        folder: of the page; pictures are found from there.
        runs: which have the same images, the first tells their order and classes.
        figures: of every image.
        class_names: by label, where known.
        baselines: of every run, the number of the one that it is compared with.
    """
    return {
        "figures": [[f.name, f.title, f.higher, f.digits] for f in figures],
        "runs": [[run.name, quote(os.path.relpath(run.results.root, folder))] for run in runs],
        "baselines": baselines,
        "files": [TARGET, IMAGE, DIFFERENCE, TUNED_IMAGE],
        "tuned": [
            any(name.startswith(AFTER) for record in run.records.values() for name in record)
            for run in runs
        ],
        "items": [
            [
                name,
                class_name(record.get("label"), class_names),
                [[_rounded(run.records[name].get(f.name)) for f in figures] for run in runs],
            ]
            for name, record in runs[0].records.items()
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


@dataclass
class Menu:
    """A choice above the gallery.

    Attributes:
        name: in the page's address.
        title: beside it.
        options: value and text of each.
        chosen: value of the one to begin with.
    """

    name: str
    title: str
    options: list[tuple[str, str]]
    chosen: str = ""


def gallery_menus(data: Mapping[str, Any]) -> list[Menu]:
    """The choices that there are for what :func:`gallery_data` gave."""
    runs, baselines = data["runs"], data["baselines"]
    classes = sorted({label for _, label, _ in data["items"] if label})
    sorts = [("given", "order of the data"), ("name", "name")]
    sorts += [(name, title) for name, title, *_ in data["figures"]]
    first = next((place for place, base in enumerate(baselines or ()) if place != base), 0)
    menus = [
        Menu("view", "Show", [("pictures", "pictures"), ("table", "table")]),
        Menu("sort", "Sort by", sorts),
        Menu("order", "Order", [("best", "best first"), ("worst", "worst first")]),
    ]
    if baselines is not None:
        menus.append(Menu("by", "Of what", [("gain", "gain"), ("value", "value")]))
    if len(runs) > 1:
        menus.append(Menu("run", "Run", [(str(i), r[0]) for i, r in enumerate(runs)], str(first)))
    if len(classes) > 1:
        menus.append(Menu("label", "Class", [("", "all"), *((name, name) for name in classes)]))
    return menus
