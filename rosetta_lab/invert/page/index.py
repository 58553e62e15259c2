"""The page of a run of inversions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from rosetta_lab.dictionary.links import link_to_dictionary
from rosetta_lab.dictionary.schema import RosettaDictionary, class_names
from rosetta_lab.invert.figures import judged, means
from rosetta_lab.invert.page.differences import LARGEST
from rosetta_lab.invert.page.gallery import Shown, gallery_data, gallery_menus, write_differences
from rosetta_lab.invert.results import Results
from rosetta_lab.models.registry import PERCEPTUAL
from rosetta_lab.pages.charts import course
from rosetta_lab.pages.document import PAGE_NAME, write_document
from rosetta_lab.run.foreign import TARGET


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
    mean = means(records)
    return write_document(
        folder / PAGE_NAME,
        "inversions.html.j2",
        generator=dictionary.reference.name,
        link=link_to_dictionary(cfg.get("dictionary"), folder),
        cfg=cfg,
        images=len(records),
        units=_units(cfg.matches),
        weights={
            part: weight
            for part, weight in cfg.loss.items()
            if weight and not (part == "activation" and cfg.matches in (None, "none"))
        },
        means={f"mean {f.title}": f.text(mean[f.name]) for f in judged(records)},
        missing=missing or {},
        judges=incomparable(cfg.judges),
        courses=_courses(results, records),
        data=data,
        menus=gallery_menus(data),
        largest=LARGEST,
    )


def _units(matches: Any) -> str:
    """Whose units were matched, in words."""
    if matches in (None, "none"):
        return "no model"
    if isinstance(matches, str):
        return "all models" if matches == "all" else matches
    return ", ".join(matches)


def incomparable(judges: Any) -> list[str]:
    """Names of the distances that may not stand beside published LPIPS."""
    return [
        str(name)
        for name, entry in (judges.items() if isinstance(judges, Mapping) else ())
        if not isinstance(entry, Mapping)
        or not PERCEPTUAL.is_kind(entry.get(TARGET), "lpips")
        or entry.get("weights") == "random"
    ]


def _courses(results: Results, records: Sequence[Mapping[str, Any]]) -> dict[str, Markup]:
    gathered: dict[str, list[Tensor]] = {}
    for record in records:
        for part, curve in results.curves(record["id"]).items():
            gathered.setdefault(part.replace("_", " "), []).append(curve)
    return {part: course(torch.stack(curves), part) for part, curves in gathered.items()}
