"""The gallery of inverted images: what the page's script shows, and its controls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rosetta_lab.invert.figures import AFTER, Figure
from rosetta_lab.invert.page.differences import DIFFERENCE, LARGEST, write_difference
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


def gallery(data: Mapping[str, Any]) -> str:
    """The controls, as HTML; without the script there is only a word about the files."""
    runs, figures, baselines = data["runs"], data["figures"], data["baselines"]
    classes = sorted({label for _, label, _ in data["items"] if label})
    comparing = baselines is not None
    sorts = [("given", "order of the data"), ("name", "name")]
    sorts += [(name, title) for name, title, *_ in figures]
    first = next((place for place, base in enumerate(baselines or ()) if place != base), 0)
    controls = [
        _menu("view", "Show", [("pictures", "pictures"), ("table", "table")]),
        _menu("sort", "Sort by", sorts),
        _menu("order", "Order", [("best", "best first"), ("worst", "worst first")]),
        _menu("by", "Of what", [("gain", "gain"), ("value", "value")]) if comparing else "",
        _menu("run", "Run", [(str(i), name) for i, (name, _) in enumerate(runs)], str(first))
        if len(runs) > 1
        else "",
        _menu("label", "Class", [("", "all"), *((name, name) for name in classes)])
        if len(classes) > 1
        else "",
        '<label>Search<input type="search" name="q" placeholder="name" autocomplete="off" '
        'spellcheck="false"></label>',
        '<p><button type="reset">Reset</button><span id="status" role="status"></span></p>',
    ]
    return (
        '<div class="legend"><p>Difference maps show the mean over the three colours of the '
        "absolute difference.</p>"
        f'<p class="scale"><span>0</span><i></i><span>{LARGEST} and more</span>'
        "of the whole range from black to white</p></div>"
        f'<form class="tools" id="tools" hidden>{"".join(controls)}</form>'
        '<noscript><p class="note">The gallery needs JavaScript. The figures are in the CSV file '
        "beside this page, the pictures in the folders of the results.</p></noscript>"
        '<div id="gallery"></div><nav class="pages" id="pages" aria-label="Pages" hidden>'
        '<button type="button" value="-1">Previous</button><span id="place"></span>'
        '<button type="button" value="1">Next</button></nav>'
    )


def _menu(
    name: str, title: str, options: Sequence[tuple[str, str]], chosen: str | None = None
) -> str:
    listed = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>'
        f"{escape(text)}</option>"
        for value, text in options
    )
    return f'<label>{title}<select name="{name}">{listed}</select></label>'
