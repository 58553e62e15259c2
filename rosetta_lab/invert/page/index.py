"""The page of a run of inversions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from torch import Tensor

from rosetta_lab.dictionary.schema import RosettaDictionary, class_names
from rosetta_lab.files import atomic_write
from rosetta_lab.invert.figures import judged, means
from rosetta_lab.invert.page.gallery import Shown, gallery, gallery_data, write_differences
from rosetta_lab.invert.results import Results
from rosetta_lab.models.perceptual import LPIPS
from rosetta_lab.pages.document import PAGE_NAME, config_text, document, facts, plot
from rosetta_lab.pages.lines import course


def write_inversions(
    folder: Path,
    results: Results,
    records: Sequence[Mapping[str, Any]],
    cfg: Any,
    dictionary: RosettaDictionary,
    missing: Mapping[str, str] | None = None,
) -> Path:
    """Write ``index.html`` and the difference maps.

    Args:
        folder: the run folder.
        results: of the run.
        records: the figures of every image.
        cfg: the run's configuration.
        dictionary: whose units were compared.
        missing: images without a result: id to what was wrong.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    run = Shown("inverted", results, {record["id"]: record for record in records})
    write_differences([run])
    data = gallery_data(folder, [run], judged(records), class_names(dictionary.config))
    page = document(
        eyebrow="Inversions",
        title=f"Images inverted through {dictionary.generator.name}",
        head=_lead(records, cfg, dictionary)
        + _facts(records)
        + _missing(missing or {})
        + incomparable(cfg.judges),
        sections={"How the loss fell": _courses(results, records), "Images": gallery(data)},
        footer="<details><summary>How these inversions were made</summary>"
        f"{config_text(cfg)}</details>",
        script="gallery.js",
        data=data,
    )
    path = folder / PAGE_NAME
    atomic_write(path, page.encode())
    return path


def _lead(records: Sequence[Mapping[str, Any]], cfg: Any, dictionary: RosettaDictionary) -> str:
    weights = {part: weight for part, weight in cfg.loss.items() if weight}
    if cfg.matches in (None, "none"):
        weights.pop("activation", None)
    parts = " + ".join(
        f"{weight:g}&nbsp;&times;&nbsp;{escape(part.replace('_', ' '))}"
        for part, weight in weights.items()
    )
    chosen = cfg.matches if isinstance(cfg.matches, str | None) else ", ".join(cfg.matches)
    units = {"none": "no model", "all": "all models"}.get(chosen or "none", chosen)
    image = "image was" if len(records) == 1 else "images were"
    return (
        f'<p class="lead">{len(records):,} {image} inverted through '
        f"<b>{escape(dictionary.generator.name)}</b> in {cfg.steps:,} steps, with the "
        f"matched units of <b>{escape(str(units))}</b>.</p>"
        f'<p class="method">Minimised in the space {escape(str(cfg.space))}, from '
        f"{escape(str(cfg.start))}: {parts}.</p>"
    )


def _facts(records: Sequence[Mapping[str, Any]]) -> str:
    mean = means(records)
    return facts({f"mean {f.title}": f.text(mean[f.name]) for f in judged(records)})


def _missing(missing: Mapping[str, str]) -> str:
    if not missing:
        return ""
    rows = "".join(
        f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in missing.items()
    )
    images = "1 image has" if len(missing) == 1 else f"{len(missing):,} images have"
    return f'<details class="note"><summary>{images} no result</summary><ul>{rows}</ul></details>'


def incomparable(judges: Mapping[str, Any]) -> str:
    """Says which distances may not stand beside published LPIPS; empty if all may."""
    names = [
        f"<code>{escape(str(name))}</code>"
        for name, entry in judges.items()
        if not issubclass(get_class(entry["_target_"]), LPIPS) or entry.get("weights") == "random"
    ]
    if not names:
        return ""
    return (
        '<p class="note">Not comparable with published LPIPS, since they look through other '
        f"networks: {', '.join(names)}.</p>"
    )


def _courses(results: Results, records: Sequence[Mapping[str, Any]]) -> str:
    gathered: dict[str, list[Tensor]] = {}
    for record in records:
        for part, curve in results.curves(record["id"]).items():
            gathered.setdefault(part, []).append(curve)
    plots = "".join(
        plot(part.replace("_", " "), course(torch.stack(curves), part))
        for part, curves in gathered.items()
    )
    return (
        '<p class="note">Mean over the images at every step, before weighting (total: weighted); '
        f'the band is the middle half of the images.</p><div class="plots">{plots}</div>'
    )
