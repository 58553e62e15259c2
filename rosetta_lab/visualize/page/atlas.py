"""Pages of concepts and neurons: where they fire, and what makes them fire; their index."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch

from rosetta_lab.dictionary.schema import RosettaDictionary, class_names
from rosetta_lab.files import atomic_write, save_tensors
from rosetta_lab.invert.page.gallery import class_name
from rosetta_lab.pages.document import PAGE_NAME, config_text, document, facts, plot
from rosetta_lab.pages.lines import course
from rosetta_lab.pages.profile import bars
from rosetta_lab.visualize.page.sheets import join, scales, sheet, sheet_html
from rosetta_lab.visualize.view import Seen, Subject, View, rows

SHOWN_CLASSES = 30
_SHEETS = ("starts", "most", "least")


def write_view(
    folder: Path,
    view: View,
    cfg: Any,
    dictionary: RosettaDictionary,
    atlas: Sequence[Subject] = (),
) -> Path:
    """Write the page of a subject, its pictures and the latents that were found.

    Args:
        folder: where to.
        view: what there is to see.
        cfg: the run's configuration.
        dictionary: with the subject.
        atlas: all subjects, where each has a page here; else the page is ``index.html``.

    Returns:
        The path of the page. It is written last, so a page is never without its pictures.
    """
    subject = view.subject
    starts, parts = join(view.target, view.found), (view.target, view.found, view.most, view.least)
    scale = scales(parts)
    first = torch.cat([view.target.images, view.approach.start])
    pictures = {
        "starts": sheet(starts, scale, [first]),
        "most": sheet(view.most, scale),
        "least": sheet(view.least, scale),
    }
    for name in _SHEETS:
        atomic_write(folder / _picture(subject, name), pictures[name].webp())
    save_tensors(folder / subject.name / "latent.safetensors", {"latent": view.approach.latent})

    def html(name: str, seen: Seen, *heads: str) -> str:
        return sheet_html(_picture(subject, name), seen, dictionary, heads)

    page = document(
        eyebrow=subject.kind,
        title=f"{subject.title} of {dictionary.generator.name}",
        head=_links(subject, atlas) + _lead(subject, dictionary) + _facts(view, dictionary),
        sections={
            "Different starts, the same maps": _about_starts(view)
            + html("starts", starts, "Target, and starts", "Target, and what was found"),
            "Where it fires most": _scale() + html("most", view.most, f"Of {cfg.images:,} images"),
            "Where it fires least": html("least", view.least, f"Of {cfg.images:,} images"),
            "By class": _profile(view, dictionary),
            "How the loss fell": _courses(view),
        },
        footer=f"<details><summary>How this page was made</summary>{config_text(cfg)}</details>",
    )
    path = folder / (f"{subject.name}.html" if atlas else PAGE_NAME)
    atomic_write(path, page.encode())
    return path


def write_index(
    folder: Path, subjects: Sequence[Subject], dictionary: RosettaDictionary, shown: int
) -> Path:
    """Write the atlas's index: every subject with the images that it fires on most."""
    cards = []
    for subject in subjects:
        height = 1 + len(rows(dictionary, subject.neurons))
        strips = "".join(
            f'<span class="strip" style="--y: {row}"><img src="{_picture(subject, "most")}" '
            f'alt="{text}" loading="lazy"></span>'
            for row, text in enumerate(("Images that it fires on most", "Heatmaps"))
        )
        cards.append(
            f'<article class="card"><h3><a href="{subject.name}.html">{subject.title}</a> '
            f"<small>{_size(subject)}</small></h3>"
            f'<div style="--columns: {shown}; --rows: {height}; --ratio: 1">{strips}</div>'
            "</article>"
        )
    page = document(
        eyebrow="Atlas",
        title=f"Concepts of {dictionary.generator.name}",
        head=f'<p class="lead">{len(subjects):,} concepts, best first, each with the images that '
        "its units fire on most, and the generator&rsquo;s best unit laid over them.</p>",
        sections={"Concepts": f'<div class="cards">{"".join(cards)}</div>'},
        footer="",
    )
    path = folder / PAGE_NAME
    atomic_write(path, page.encode())
    return path


def _picture(subject: Subject, name: str) -> str:
    return f"{subject.name}/{name}.webp"


def _size(subject: Subject) -> str:
    count = len(subject.neurons)
    return f"{count:,} neuron" + ("" if count == 1 else "s")


def _links(subject: Subject, atlas: Sequence[Subject]) -> str:
    if not atlas:
        return ""
    place = atlas.index(subject)
    links = [f'<a href="{PAGE_NAME}">All concepts</a>']
    if place > 0:
        links.append(f'<a href="{atlas[place - 1].name}.html">{atlas[place - 1].title}</a>')
    if place + 1 < len(atlas):
        links.append(f'<a href="{atlas[place + 1].name}.html">{atlas[place + 1].title}</a>')
    return f'<nav class="note" aria-label="Atlas">{" · ".join(links)}</nav>'


def _lead(subject: Subject, dictionary: RosettaDictionary) -> str:
    chosen = [dictionary.neurons[number] for number in subject.neurons]
    units = f"{len(chosen)} units" if len(chosen) > 1 else "One unit"
    layers = ", ".join(dict.fromkeys(neuron.unit.layer for neuron in chosen))
    models = ", ".join(dictionary.discriminative)
    their = "their" if len(chosen) > 1 else "its"
    return (
        f'<p class="lead">{units} of <b>{escape(dictionary.generator.name)}</b> '
        f"(<code>{escape(layers)}</code>) and {their} best buddies in {escape(models)}.</p>"
    )


def _facts(view: View, dictionary: RosettaDictionary) -> str:
    before, after = view.approach.agreement.mean(dim=0).tolist()
    scores = [dictionary.neurons[number].score for number in view.subject.neurons]
    return facts(
        {
            "score (mean r)": f"{max(scores):.2f}",
            "agreement of the starts": f"{before:.2f}",
            "agreement in the end": f"{after:.2f}",
        }
    )


def _about_starts(view: View) -> str:
    return (
        f'<p class="note">The first column is the target, {escape(view.target.names[0])}. Every '
        "other column began at a random image, and only its latent was changed until the units "
        "fire as they do on the target; nothing was said of pixels, or of any other unit.</p>"
    )


def _scale() -> str:
    return (
        '<div class="legend"><p class="scale"><span>lowest</span><i></i><span>highest</span> '
        "activation of that unit on this page</p></div>"
    )


def _profile(view: View, dictionary: RosettaDictionary) -> str:
    if not view.profile:
        return ""
    names = class_names(dictionary.config)
    ranked = sorted(view.profile.items(), key=lambda item: -item[1])
    shown = [(class_name(label, names), value) for label, value in ranked[:SHOWN_CLASSES]]
    rest = f" The {SHOWN_CLASSES} highest of {len(ranked):,}." if len(ranked) > len(shown) else ""
    return (
        '<p class="note">Mean over the images of a class of the highest value of the '
        "generator&rsquo;s units, in standard deviations from their means over all positions."
        f'{rest}</p><div class="plots">{plot("By class", bars(shown, "Activation by class"))}</div>'
    )


def _courses(view: View) -> str:
    plots = "".join(
        plot(part.replace("_", " "), course(curve.cpu(), part))
        for part, curve in view.approach.curves.items()
    )
    return (
        '<p class="note">Mean over the starts at every step, before weighting (total: weighted); '
        f'activation is minus the agreement.</p><div class="plots">{plots}</div>'
    )
