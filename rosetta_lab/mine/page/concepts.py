"""The concepts of the page: index, tools, and a section for each with its neurons' pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from html import escape
from string import Template

from rosetta_lab.dictionary.schema import Concept, Match, RosettaDictionary, RosettaNeuron
from rosetta_lab.mine.page.overview import cards
from rosetta_lab.pages.templates import read_template

IMAGE_FOLDER = "page"
ATLAS = "atlas"  # folder beside the page, with a page for every concept


def image_name(number: int) -> str:
    """Where a neuron's picture lies, relative to the page."""
    return f"{IMAGE_FOLDER}/neuron-{number}.webp"


def concepts(
    dictionary: RosettaDictionary, captions: list[list[str]], columns: int, examples: int
) -> str:
    """The index, the tools and all sections.

    Args:
        dictionary: what to show.
        captions: of the images that each neuron's picture shows.
        columns: images in a picture.
        examples: images that they were chosen from.
    """
    if not dictionary.concepts:
        return (
            '<p class="note">No unit of the generator has a best buddy in every model. A larger '
            "K, more images or fewer models may help.</p>"
        )
    best = [found[0].r for n in dictionary.neurons for found in n.matches.values()]
    best += [neuron.score for neuron in dictionary.neurons]
    return Template(read_template("concepts.html")).substitute(
        columns=columns,
        examples=f"{examples:,}",
        tiles="".join(_tile(concept) for concept in dictionary.concepts),
        models="".join(
            f'<option value="{place}">{escape(name)}</option>'
            for place, name in enumerate(dictionary.discriminative, start=1)
        ),
        layers=_layer_options(dictionary),
        lowest=f"{math.floor(min(best) * 20) / 20:.2f}",
        highest=f"{math.ceil(max(best) * 20) / 20:.2f}",
        list="".join(_concept(concept, dictionary, captions) for concept in dictionary.concepts),
    )


def _places(neuron: RosettaNeuron, dictionary: RosettaDictionary) -> Iterator[tuple[int, int]]:
    """Where a neuron's units lie: model (0 is the generator) and layer, by number; own layer first.

    Names come from outside; numbers are safe in attributes and short.
    """
    own = [layer.name for layer in dictionary.generator.layers]
    yield 0, own.index(neuron.unit.layer)
    for model, (name, card) in enumerate(dictionary.discriminative.items(), start=1):
        layers = [layer.name for layer in card.layers]
        yield from sorted({(model, layers.index(match.layer)) for match in neuron.matches[name]})


def _layer_options(dictionary: RosettaDictionary) -> str:
    counts: dict[tuple[int, int], int] = {}
    for neuron in dictionary.neurons:
        for place in _places(neuron, dictionary):
            counts[place] = counts.get(place, 0) + 1
    groups = []
    for model, card in enumerate(cards(dictionary)):
        options = "".join(
            f'<option value="{model}.{place}">{escape(layer.name)} '
            f"({counts[model, place]:,})</option>"
            for place, layer in enumerate(card.layers)
            if (model, place) in counts
        )
        groups.append(f'<optgroup label="{escape(card.name)}">{options}</optgroup>')
    return "".join(groups)


def _tile(concept: Concept) -> str:
    size = len(concept.neurons)
    return (
        f'<a href="#concept-{concept.id}" aria-label="Concept {concept.id}, {_neurons(size)}, '
        f'score {concept.score:.2f}"><span class="thumb">'
        f'<img src="{image_name(concept.representative)}" alt="" loading="lazy">'
        f"</span><span><b>{concept.id}</b><span>{concept.score:.2f}</span></span></a>"
    )


def _neurons(count: int) -> str:
    return f"{count:,} neuron" + ("" if count == 1 else "s")


def _heading(concept: int) -> str:
    return f'<h3><a href="#concept-{concept}">Concept {concept}</a>'


def link_atlas(page: str, concepts: Iterable[int]) -> str:
    """A dictionary's page with a link from every concept to its page in the atlas beside it."""
    for concept in concepts:
        heading = _heading(concept) + " "
        link = f'<small><a href="{ATLAS}/concept_{concept}.html">atlas</a></small> '
        if heading + link not in page:
            page = page.replace(heading, heading + link)
    return page


def _concept(concept: Concept, dictionary: RosettaDictionary, captions: list[list[str]]) -> str:
    drawn = [_neuron(number, dictionary, captions[number]) for number in concept.neurons]
    rest = (
        f'<details><summary><span class="more">{_neurons(len(drawn) - 1).replace(" ", " more ")}'
        f"</span></summary>{''.join(drawn[1:])}</details>"
        if drawn[1:]
        else ""
    )
    return (
        f'<section class="concept" id="concept-{concept.id}">'
        f"{_heading(concept.id)} "
        f"<small>{_neurons(len(drawn))} · score {concept.score:.2f}</small></h3>"
        f"{drawn[0]}{rest}</section>\n"
    )


def _neuron(number: int, dictionary: RosettaDictionary, captions: list[str]) -> str:
    neuron = dictionary.neurons[number]
    scores = [neuron.score, *(neuron.matches[name][0].r for name in dictionary.discriminative)]
    places = " ".join(f"{model}.{layer}" for model, layer in _places(neuron, dictionary))
    names = "".join(f"<span>{escape(caption)}</span>" for caption in captions)
    rows = [
        f'<div class="row"><h4><a href="#neuron-{number}">Neuron {number}</a> '
        f"<small>score {neuron.score:.2f}</small></h4>{_strip(number, 0, 'Example images')}"
        f'<div class="captions">{names}</div></div>',
        f'<div class="row own"><p><b>{escape(dictionary.generator.name)}</b>'
        f"{_unit(neuron.unit.layer, neuron.unit.channel)}</p>"
        f"{_strip(number, 1, 'Heatmaps')}</div>",
    ]
    for row, name in enumerate(dictionary.discriminative, start=1):
        rows.append(_match_row(number, row, name, neuron.matches[name]))
    return (
        f'<article class="neuron" id="neuron-{number}" data-at=" {places} " '
        f'data-r="{" ".join(f"{score:.4g}" for score in scores)}">{"".join(rows)}</article>'
    )


def _match_row(number: int, row: int, name: str, matches: list[Match]) -> str:
    first, *others = matches
    also = "".join(  # </li> may be left out, which counts with thousands of them
        f"<li>{_unit(match.layer, match.channel)}<i>{match.r:.2f}</i>" for match in others
    )
    return (
        f'<div class="row" data-m="{row}"><div><p><b>{escape(name)}</b> <i>{first.r:.2f}</i>'
        f"{_unit(first.layer, first.channel)}</p>"
        + (f"<ul>{also}</ul>" if also else "")
        + f"</div>{_strip(number, row + 1, 'Heatmaps')}</div>"
    )


def _unit(layer: str, channel: int) -> str:
    return f"<code>{escape(layer)} · <b>{channel}</b></code>"


def _strip(number: int, row: int, text: str) -> str:
    """One row of a neuron's picture; the browser loads the picture once for all its rows."""
    return (
        f'<span class="strip" style="--y:{row}"><img src="{image_name(number)}" alt="{text}" '
        'loading="lazy"></span>'
    )
