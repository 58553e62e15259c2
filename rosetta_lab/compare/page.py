"""A comparison of inversions as a static page."""

from __future__ import annotations

from pathlib import Path

import torch
from markupsafe import Markup
from torch import Tensor

from rosetta_lab.compare.comparison import Comparison
from rosetta_lab.compare.tables import Reference, cells, figure_rows, judging
from rosetta_lab.invert.figures import Figure
from rosetta_lab.invert.page.differences import LARGEST
from rosetta_lab.invert.page.gallery import Shown, gallery_data, gallery_menus, write_differences
from rosetta_lab.invert.page.index import incomparable
from rosetta_lab.pages.charts import (
    Interval,
    figure_column,
    intervals,
    parallel,
    parameter_column,
)
from rosetta_lab.pages.document import PAGE_NAME, link_to, write_document
from rosetta_lab.pages.histograms import distributions

HISTOGRAMS = 6  # runs with a common baseline of which every figure's histogram is drawn at most


def write_comparison(
    folder: Path,
    comparison: Comparison,
    class_names: list[str] | None = None,
    reference: Reference | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
) -> Path:
    """Write ``index.html``; pictures are those of the runs, found from the page's folder.

    Args:
        folder: of the page.
        comparison: what to show.
        class_names: by label, where known.
        reference: figures that others measured, shown below the runs'.
        level: of the intervals.
        resamples: that the intervals were made of.

    Returns:
        The path of ``index.html``.
    """
    shown = [
        Shown(arm.name, arm.results, {name: arm.records[name] for name in comparison.ids})
        for arm in comparison.arms
    ]
    write_differences(shown)
    kinds, bases = judging(comparison), [group[0] for group in comparison.groups]
    data = gallery_data(folder, shown, kinds, class_names, comparison.baselines)
    return write_document(
        folder / PAGE_NAME,
        "comparison.html.j2",
        arms=comparison.arms,
        images=len(comparison.ids),
        baselines=[arm.name for arm in bases],
        level=level,
        resamples=resamples,
        best=_best(comparison, kinds),
        judges=incomparable(bases[0].cfg.get("judges", {})),
        figures=kinds,
        parameters=_parameters(comparison, kinds),
        pair=_pair(comparison, kinds) if len(comparison.arms) == 2 and not reference else [],
        links={
            f"run {arm.name}": address
            for arm in comparison.arms
            if (address := link_to(arm.folder / PAGE_NAME, folder))
        },
        rows={kind.name: figure_rows(comparison, kind, reference or {}) for kind in kinds},
        gains={f"gain in {kind.title}": _gains(comparison, kind) for kind in kinds},
        spreads=_spreads(comparison, kinds),
        data=data,
        menus=gallery_menus(data),
        largest=LARGEST,
    )


def _pair(comparison: Comparison, kinds: list[Figure]) -> list[list[str]]:
    """Two runs in one table: heads, then a line for every figure."""
    (base, *_), (other, *_) = sorted(
        ((arm, own) for arm, own in zip(comparison.arms, comparison.baselines, strict=True)),
        key=lambda entry: entry[0] is not comparison.arms[entry[1]],
    )
    table = [["figure", f"{base.name} (baseline)", other.name, "gain", "better on"]]
    for kind in kinds:
        one, two = comparison.row(base, kind.name), comparison.row(other, kind.name)
        if one and two:
            table.append([kind.title, cells(one)[0], *cells(two)])
    return table


def _best(comparison: Comparison, kinds: list[Figure]) -> dict[str, str]:
    """The best run's mean of every figure."""
    best: dict[str, str] = {}
    for kind in kinds:
        rows = [row for row in comparison.rows if row.figure is kind]
        row = (max if kind.higher else min)(rows, key=lambda row: row.mean)
        best[f"best mean {kind.title}: {row.arm.name}"] = kind.text(row.mean)
    return best


def _parameters(comparison: Comparison, kinds: list[Figure]) -> Markup | None:
    """A line for every run, from its parameters to its mean figures."""
    arms = comparison.arms
    keys = list(arms[0].parameters)
    if not keys or not kinds:
        return None
    columns = [parameter_column(key, [arm.parameters[key] for arm in arms]) for key in keys]
    for kind in kinds:
        rows = [row for row in comparison.rows if row.figure is kind]  # one for every arm
        columns.append(figure_column(kind.title, [row.mean for row in rows], higher=kind.higher))
    return parallel(columns, [arm.name for arm in arms], shade=len(keys))


def _gains(comparison: Comparison, kind: Figure) -> Markup:
    rows = [
        Interval(row.arm.name, row.gain, row.gain_low, row.gain_high)
        for row in comparison.rows
        if row.figure is kind
        and row.gain is not None
        and row.gain_low is not None
        and row.gain_high is not None
    ]
    return intervals(rows, f"Gain in {kind.title}", f"gain in {kind.title}")


def _spreads(comparison: Comparison, kinds: list[Figure]) -> dict[str, dict[str, Markup]]:
    """Histograms of the gains: figure to run to its own."""
    groups = [group for group in comparison.groups if 1 < len(group) <= 1 + HISTOGRAMS]
    spreads = {}
    for kind in kinds if groups else []:
        gains: dict[str, Tensor] = {}
        for base, *others in groups:
            for arm in others:
                both = [(arm.records[name], base.records[name]) for name in comparison.ids]
                gains[arm.name] = torch.tensor(
                    [kind.gain(a[kind.name], b[kind.name]) for a, b in both
                     if kind.name in a and kind.name in b]
                )  # fmt: skip
        spreads[kind.title] = distributions(gains)
    return spreads
