"""A comparison of inversions as a static page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import torch

from rosetta_lab.compare.comparison import Comparison
from rosetta_lab.compare.runs import ComparedRun
from rosetta_lab.compare.tables import Reference, figure_rows, judging
from rosetta_lab.files import atomic_write
from rosetta_lab.invert.figures import Figure
from rosetta_lab.invert.page.gallery import Shown, gallery, gallery_data, write_differences
from rosetta_lab.invert.page.index import incomparable
from rosetta_lab.pages.document import PAGE_NAME, config_text, document, facts, plot, table
from rosetta_lab.pages.lines import Interval, distribution, intervals
from rosetta_lab.pages.parallel import figure_axis, parallel, parameter_axis

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
    head = (
        f'<p class="lead">{len(comparison.arms)} runs inverted the same {len(comparison.ids):,} '
        f"images. {_baselines(bases)}</p>"
        f'<p class="method">Brackets are {level:.0%} intervals (percentile bootstrap over the '
        f"images, {resamples:,} resamples). A gain is the mean improvement on the baseline, image "
        "by image; a positive one is better, whichever way the figure goes. A figure that some run "
        "lacks for an image is compared on the other images: &ldquo;better on&rdquo; says of how "
        "many.</p>" + _best(comparison, kinds) + incomparable(bases[0].cfg.get("judges", {}))
    )
    page = document(
        eyebrow="Comparison of inversions",
        title=f"{len(comparison.arms)} runs on {len(comparison.ids):,} images",
        head=head,
        sections={
            "Runs and their parameters": _parallel(comparison, kinds),
            "Figures": "".join(
                f"<h3>{escape(kind.title)}</h3>"
                + table(
                    kind.title,
                    ["run", "mean", "gain", "better on"],
                    figure_rows(comparison, kind, reference or {}),
                )
                for kind in kinds
            ),
            "Gains": _gains(comparison, kinds),
            "How gains are spread": _histograms(comparison, kinds),
            "Images": gallery(data),
        },
        footer="<details><summary>How these runs were made</summary>"
        + "".join(_made(arm) for arm in comparison.arms)
        + "</details>",
        script="gallery.js",
        data=data,
    )
    path = folder / PAGE_NAME
    atomic_write(path, page.encode())
    return path


def _made(arm: ComparedRun) -> str:
    return f"<h3>{escape(arm.name)}</h3>{config_text(arm.overrides)}{config_text(arm.cfg)}"


def _baselines(bases: list[ComparedRun]) -> str:
    """Which runs the others are compared with."""
    names = ", ".join(f"<b>{escape(arm.name)}</b>" for arm in bases)
    if len(bases) == 1:
        return f"The baseline is {names}."
    return (
        f"Every run is compared with that of the baselines which it shares the rest with: {names}."
    )


def _best(comparison: Comparison, kinds: list[Figure]) -> str:
    """The best run's mean of every figure."""
    best: dict[str, str] = {}
    for kind in kinds:
        rows = [row for row in comparison.rows if row.figure is kind]
        row = (max if kind.higher else min)(rows, key=lambda row: row.mean)
        best[f"best mean {kind.title}: {row.arm.name}"] = kind.text(row.mean)
    return facts(best)


def _gains(comparison: Comparison, kinds: list[Figure]) -> str:
    plots = []
    for kind in kinds:
        rows = [
            Interval(row.arm.name, row.gain, row.gain_low, row.gain_high)
            for row in comparison.rows
            if row.figure is kind
            and row.gain is not None
            and row.gain_low is not None
            and row.gain_high is not None
        ]
        plots.append(plot(f"gain in {kind.title}", intervals(rows, f"Gain in {kind.title}")))
    return (
        '<p class="note">Mean gain over the baseline (dot) and its interval (line); to the right '
        f'is better.</p><div class="plots">{"".join(plots)}</div>'
    )


def _histograms(comparison: Comparison, kinds: list[Figure]) -> str:
    groups = [group for group in comparison.groups if 1 < len(group) <= 1 + HISTOGRAMS]
    if not groups:
        return ""
    parts = [
        '<p class="note">Number of images by their gain over the baseline; to the right of the '
        "middle is better. The outermost bars hold what lies outside, too.</p>"
    ]
    for kind in kinds:
        gains = {
            arm.name: torch.tensor(
                [
                    kind.gain(arm.records[name][kind.name], base.records[name][kind.name])
                    for name in comparison.ids
                    if kind.name in arm.records[name] and kind.name in base.records[name]
                ]
            )
            for base, *others in groups
            for arm in others
        }
        # Of the widest, so that all have one scale; a few extremes do not squeeze the rest.
        limit = max(float(values.abs().quantile(0.98)) for values in gains.values()) or 1.0
        plots = (plot(name, distribution(gain, name, limit)) for name, gain in gains.items())
        parts.append(f'<h3>{escape(kind.title)}</h3><div class="plots">{"".join(plots)}</div>')
    return "".join(parts)


def _parallel(comparison: Comparison, kinds: list[Figure]) -> str:
    arms = comparison.arms
    keys = list(arms[0].parameters)
    if not keys or not kinds:
        return ""
    axes = [parameter_axis(key, [arm.parameters[key] for arm in arms]) for key in keys]
    for kind in kinds:
        rows: list[Any] = [comparison.row(arm, kind.name) for arm in arms]
        axes.append(figure_axis(kind.title, [row.mean for row in rows], higher=kind.higher))
    drawing = parallel(axes, [arm.name for arm in arms], shade=len(keys))
    return (
        '<p class="note">One line for every run, from its parameters to its mean figures; better '
        f"is up. The stronger the line, the better its {escape(kinds[0].title)}.</p>"
        f'<div class="wide" role="region" aria-label="Parallel coordinates" tabindex="0">'
        f"{drawing}</div>"
    )
