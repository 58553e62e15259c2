"""The dictionary as a static page: ``index.html`` and one picture per Rosetta neuron."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from markupsafe import Markup

from rosetta_lab.dictionary.names import digest
from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.files import atomic_write
from rosetta_lab.mine.page.concepts import cards, entries, image_name, layer_groups, of_place
from rosetta_lab.mine.page.examples import Examples
from rosetta_lab.mine.page.names import names_beside
from rosetta_lab.mine.page.profiles import profiles
from rosetta_lab.mine.page.sprites import SpriteMaker
from rosetta_lab.mine.page.table import TABLE_NAME, write_matches
from rosetta_lab.pages.charts import growth, meetings
from rosetta_lab.pages.document import PAGE_NAME, thousands, write_document
from rosetta_lab.pages.histograms import histograms

UNKNOWN = "\u2013"
T = TypeVar("T")


def write_page(dictionary: RosettaDictionary, examples: Examples, folder: Path) -> Path:
    """Write ``index.html``, its pictures and ``matches.csv``.

    Args:
        dictionary: what to show.
        examples: images, and the maps of every neuron's own unit and best buddies.
        folder: the run folder; the pictures go to ``page/`` inside it.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    maker = SpriteMaker(dictionary, examples)
    captions = []
    with _one_thread():
        for number, neuron in enumerate(dictionary.candidates):
            sprite = maker.draw(neuron)
            atomic_write(folder / image_name(number), sprite.webp())
            captions.append([examples.captions[place] for place in sprite.columns])
    write_matches(folder, dictionary)
    classes = profiles(dictionary, examples)
    best = [found[0].r for n in dictionary.neurons for found in n.matches.values()]
    best += [neuron.score for neuron in dictionary.neurons]
    summary, models = dictionary.summary, dictionary.discriminative
    own = [layer.name for layer in dictionary.reference.layers]
    return write_document(
        folder / PAGE_NAME,
        "dictionary.html.j2",
        dictionary=dictionary,
        models=[_model_row(card, dictionary) for card in cards(dictionary)],
        untrained=[c.name for c in cards(dictionary) if c.weights.get("source") == "random"],
        null=summary.get("null"),
        stability=summary.get("stability"),
        control=_control(dictionary),
        given="images" in summary,
        cliques=[[span, thousands(many)] for span, many in summary.get("cliques", {}).items()],
        histograms=histograms(_ordered(summary.get("histogram", {}), models)),
        content=_content(summary.get("null"), models),
        growth=_growth(summary.get("stability"), "null" in summary),
        meetings={
            name: meetings(counts, own, [layer.name for layer in models[name].layers])
            for name, counts in _ordered(summary.get("meetings", {}), models).items()
        },
        entries=entries(dictionary, captions),
        layer_groups=layer_groups(dictionary),
        lowest=math.floor(min(best, default=0.0) * 20) / 20,
        highest=math.ceil(max(best, default=1.0) * 20) / 20,
        examples=examples.chosen_from,
        names=names_beside(folder, dictionary),
        identity=digest(dictionary),
        profiles=classes,
        words={
            concept.id: " ".join(c.name for c in classes.get(concept.id, ()) if c.above)
            for concept in dictionary.concepts
        },
        flagged={
            concept.id: of_place(dictionary.neurons[concept.representative])
            for concept in dictionary.concepts
        },
        table_name=TABLE_NAME,
        columns=maker.columns,
        rows=maker.rows,
        ratio=maker.cell[1] / maker.cell[0],
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small tensors: threads that wait for each other cost 20 times what they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _ordered(values: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    """What is known of models, in their order."""
    return {name: values[name] for name in names if name in values}


def _content(null: Mapping[str, Any] | None, models: Iterable[str]) -> dict[str, Markup]:
    """r less each position's mean, of best buddies and of those of shuffled images, by model."""
    if null is None:
        return {}
    found, shuffled, lowest = (
        _ordered(null[key], models)
        for key in ("centred_histogram", "shuffled_histogram", "thresholds")
    )
    return histograms(found, shuffled, lowest)


def _growth(stability: Mapping[str, Any] | None, has_null: bool) -> Markup | None:
    """How many Rosetta neurons so many images show."""
    if stability is None:
        return None
    course = stability["course"]
    names = {"rosetta": "Rosetta neurons"}
    if has_null:
        names |= {"candidates": "before the null", "shuffled": "among shuffled images"}
    return growth(
        [float(point["images"]) for point in course],
        {name: [float(point[key]) for point in course] for key, name in names.items()},
        "images",
    )


@dataclass
class Control:
    """What the models' own architectures with random weights match.

    Attributes:
        found: counts, see :func:`rosetta_lab.mine.control.count`.
        trained: median score of what the paper's rule finds in the trained models, as text.
        rows: model, then best buddies, accepted ones and those of shuffled images, each of the
            trained and of the untrained model.
    """

    found: Mapping[str, Any]
    trained: str
    rows: list[list[str]]


def _control(dictionary: RosettaDictionary) -> Control | None:
    """The untrained networks beside a run; None where there are none."""
    summary = dictionary.summary
    found = summary.get("controls", {}).get("untrained")
    if found is None:
        return None
    scores = [neuron.score for neuron in dictionary.candidates]
    rows = []
    for name in dictionary.discriminative:
        cells = [name]
        for counts in zip(_matched(summary, name), _matched(found, name), strict=True):
            cells += [UNKNOWN if count is None else thousands(round(count)) for count in counts]
        rows.append(cells)
    return Control(found, f"{median(scores):.2f}" if scores else UNKNOWN, rows)


def _matched(summary: Mapping[str, Any], model: str) -> list[float | None]:
    """Best buddies of a model, accepted ones and those of shuffled images, where they are known."""
    null = summary.get("null", {})
    kinds = (null.get("accepted_best_buddies", {}), null.get("shuffled_best_buddies", {}))
    return [counts.get(model) for counts in (summary.get("best_buddies", {}), *kinds)]


@dataclass
class ModelRow:
    """A model in the overview's table.

    Attributes:
        card: of it.
        numbers: layers, units, dead units, best buddies, accepted ones, those of shuffled images,
            mean best r.
    """

    card: ModelCard
    numbers: list[str]


def _model_row(card: ModelCard, dictionary: RosettaDictionary) -> ModelRow:
    best = [n.matches[card.name][0].r for n in dictionary.neurons if card.name in n.matches]
    summary = dictionary.summary
    counts: list[float | None] = [len(card.layers), len(card.units)]
    counts.append(summary.get("dead_units", {}).get(card.name))
    matched = _matched(summary, card.name)
    counts += matched if "null" in summary else matched[:1]
    numbers = [UNKNOWN if count is None else thousands(round(count)) for count in counts]
    return ModelRow(card, [*numbers, f"{sum(best) / len(best):.2f}" if best else UNKNOWN])
