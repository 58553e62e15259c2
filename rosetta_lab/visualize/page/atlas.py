"""Pages of concepts and neurons: where they fire, and what makes them fire; their index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.links import link_to_dictionary
from rosetta_lab.dictionary.schema import RosettaDictionary, class_names
from rosetta_lab.files import atomic_write, save_tensors
from rosetta_lab.invert.page.gallery import class_name
from rosetta_lab.pages.charts import bars, course
from rosetta_lab.pages.document import PAGE_NAME, link_to, write_document
from rosetta_lab.visualize.page.sheets import describe, join, scales, sheet
from rosetta_lab.visualize.view import Subject, View, rows

SHOWN_CLASSES = 30


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
    scale = scales((view.target, view.found, view.most, view.least))
    first = torch.cat([view.target.images, view.approach.start])
    of = f"Of {cfg.images:,} images"
    sheets, saved = {}, {}
    for name, seen, above, heads in (
        ("starts", join(view.target, view.found), [first],
         ["Target, and starts", "Target, and what was found"]),
        ("most", view.most, [], [of]),
        ("least", view.least, [], [of]),
    ):  # fmt: skip
        drawn = sheet(seen, scale, above)
        atomic_write(folder / _picture(subject, name), drawn.webp())
        if not atlas:  # of one subject, also for papers
            saved[f"{name}.png"] = address = _picture(subject, name).replace(".webp", ".png")
            write_image(drawn.pixels, folder / address)
        sheets[name] = describe(_picture(subject, name), seen, dictionary, *heads)
    tensors = {"latent": view.approach.latent}
    if view.approach.class_weights is not None:
        tensors["class_weights"] = view.approach.class_weights
    save_tensors(folder / subject.name / "latent.safetensors", tensors, view.notes)

    place = atlas.index(subject) if atlas else 0
    neurons = [dictionary.neurons[number] for number in subject.neurons]
    before, after = view.approach.agreement.mean(dim=0).tolist()
    names = class_names(dictionary.config)
    classes = sorted(view.profile.items(), key=lambda item: -item[1])
    profile = [(class_name(label, names), value) for label, value in classes[:SHOWN_CLASSES]]
    return write_document(
        folder / (f"{subject.name}.html" if atlas else PAGE_NAME),
        "concept.html.j2",
        subject=subject,
        dictionary=dictionary,
        cfg=cfg,
        saved=saved,
        link=_dictionary(cfg, folder, atlas),
        neighbours=[*atlas[max(0, place - 1) : place], *atlas[place + 1 : place + 2]],
        layers=dict.fromkeys(neuron.unit.layer for neuron in neurons),
        figures={
            "score (mean r)": f"{max(neuron.score for neuron in neurons):.2f}",
            "agreement of the starts": f"{before:.2f}",
            "agreement in the end": f"{after:.2f}",
        },
        target=view.target.names[0],
        **sheets,
        profile=bars(profile, "Activation by class", "standard deviations") if profile else "",
        classes=len(classes),
        shown_classes=SHOWN_CLASSES,
        courses={
            part.replace("_", " "): course(curve.cpu(), part.replace("_", " "))
            for part, curve in view.approach.curves.items()
        },
    )


def write_index(
    folder: Path, subjects: Sequence[Subject], dictionary: RosettaDictionary, shown: int
) -> Path:
    """Write the atlas's index: every subject with the images that it fires on most."""
    return write_document(
        folder / PAGE_NAME,
        "atlas.html.j2",
        dictionary=dictionary,
        link=link_to(folder.parent / PAGE_NAME, folder),
        columns=shown,
        subjects=[
            (subject, _picture(subject, "most"), 1 + len(rows(dictionary, subject.neurons)))
            for subject in subjects
        ],
    )


def _dictionary(cfg: Any, folder: Path, atlas: Sequence[Subject]) -> str:
    """The address of the dictionary's page; an atlas lies beside it."""
    if atlas:
        return link_to(folder.parent / PAGE_NAME, folder)
    return link_to_dictionary(cfg.get("dictionary"), folder)


def _picture(subject: Subject, name: str) -> str:
    return f"{subject.name}/{name}.webp"
