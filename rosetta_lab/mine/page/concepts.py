"""The Rosetta neurons of the page, and links from its concepts to their pages in an atlas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rosetta_lab.dictionary.schema import Match, ModelCard, RosettaDictionary, RosettaNeuron

IMAGE_FOLDER = "page"
ATLAS = "atlas"  # folder beside the page, with a page for every concept
Place = tuple[int, int]  # model (0 is the reference) and layer, by number


@dataclass
class Entry:
    """A Rosetta neuron on the page.

    Attributes:
        number: of it.
        neuron: itself.
        captions: of the images that its picture shows.
        places: ``MODEL.LAYER`` of its units, its own first. Names come from outside; numbers are
            safe to search in and short.
        scores: its score, then r of the best match in every model.
        sizes: how many cells the maps of its units have, its own first: height and width.
        evidence: what content and place explain (means over the models), the share of half samples
            that find it again, and q; empty without a null.
    """

    number: int
    neuron: RosettaNeuron
    captions: list[str]
    places: str
    scores: str
    sizes: list[str]
    evidence: str

    @property
    def picture(self) -> str:
        """Where its picture lies, relative to the page."""
        return image_name(self.number)


def image_name(number: int) -> str:
    """Where a neuron's picture lies, relative to the page."""
    return f"{IMAGE_FOLDER}/neuron-{number}.webp"


def cards(dictionary: RosettaDictionary) -> list[ModelCard]:
    """All models, the reference first."""
    return [dictionary.reference, *dictionary.discriminative.values()]


def entries(dictionary: RosettaDictionary, captions: Sequence[list[str]]) -> list[Entry]:
    """All neurons, then what is matched by place; with captions of what their pictures show."""
    found = []
    for number, neuron in enumerate(dictionary.candidates):
        scores = [neuron.score, *(neuron.matches[name][0].r for name in dictionary.discriminative)]
        places = " ".join(f"{model}.{layer}" for model, layer in _places(neuron, dictionary))
        words = " ".join(f"{score:.4g}" for score in scores)
        sizes, known = _sizes(neuron, dictionary), _evidence(neuron)
        found.append(Entry(number, neuron, captions[number], places, words, sizes, known))
    return found


def _sizes(neuron: RosettaNeuron, dictionary: RosettaDictionary) -> list[str]:
    units = [neuron.unit, *(matches[0].unit for matches in _matches(neuron, dictionary))]
    found = []
    for unit, card in zip(units, cards(dictionary), strict=True):
        layer = next(layer for layer in card.layers if layer.name == unit.layer)
        found.append(f"{layer.height} \u00d7 {layer.width}")
    return found


def _matches(neuron: RosettaNeuron, dictionary: RosettaDictionary) -> list[list[Match]]:
    return [neuron.matches[name] for name in dictionary.discriminative]


def shares(neuron: RosettaNeuron) -> tuple[float, float] | None:
    """What content and place explain of a neuron's matches, each by itself: means over the models
    of the best match's r_centred and r_position; None without a null."""
    best = [matches[0] for matches in neuron.matches.values()]
    content = [match.r_centred for match in best if match.r_centred is not None]
    place = [match.r_position for match in best if match.r_position is not None]
    return (fmean(content), fmean(place)) if content and place else None


def of_place(neuron: RosettaNeuron) -> bool:
    """Whether place explains more of a neuron's matches than content does."""
    known = shares(neuron)
    return known is not None and known[1] > known[0]


def _evidence(neuron: RosettaNeuron) -> str:
    known = shares(neuron)
    if known is None:
        return ""
    found = (*known, neuron.stability or 0.0, 1.0 if neuron.q is None else neuron.q)
    return " ".join(f"{value:.4g}" for value in found)


def _places(neuron: RosettaNeuron, dictionary: RosettaDictionary) -> list[Place]:
    """Where a neuron's units lie, its own first."""
    places = []
    for model, card in enumerate(cards(dictionary)):
        matches = neuron.matches[card.name] if model else [neuron]
        layers = [layer.name for layer in card.layers]
        places += sorted({(model, layers.index(match.unit.layer)) for match in matches})
    return places


def layer_groups(dictionary: RosettaDictionary) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Layers with neurons, for every model: place, name, and how many neurons have a unit there."""
    counts = Counter(place for n in dictionary.neurons for place in _places(n, dictionary))
    return [
        (
            card.name,
            [
                (f"{model}.{place}", layer.name, counts[model, place])
                for place, layer in enumerate(card.layers)
                if (model, place) in counts
            ],
        )
        for model, card in enumerate(cards(dictionary))
    ]


def link_atlas(page: str, concepts: Iterable[int]) -> str:
    """A dictionary's page with a link from every concept to its page in the atlas beside it."""
    for concept in concepts:
        heading = f'<h3><a href="#concept-{concept}">Concept {concept}</a> '  # as the template's
        link = f'<small><a href="{ATLAS}/concept_{concept}.html">atlas</a></small> '
        if heading + link not in page:
            page = page.replace(heading, heading + link)
    return page
