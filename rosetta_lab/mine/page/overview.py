"""The parts of the page above the concepts: what was mined, how much was found, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.pages import plots


def lead(dictionary: RosettaDictionary) -> str:
    """The sentence under the title."""
    names = [f"<b>{escape(name)}</b>" for name in dictionary.discriminative]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
    models = "model" if len(names) == 1 else "models"
    return (
        f"Units of the generator <b>{escape(dictionary.generator.name)}</b> that fire on the same "
        f"places of the same images as units of {len(names)} vision {models}: {listed}."
    )


def cards(dictionary: RosettaDictionary) -> list[ModelCard]:
    """All models, the generator first."""
    return [dictionary.generator, *dictionary.discriminative.values()]


def warning(dictionary: RosettaDictionary) -> str:
    """Says loudly that a model was never trained; empty if all were."""
    names = [c.name for c in cards(dictionary) if c.weights.get("source") == "random"]
    if not names:
        return ""
    return (
        '<p class="warning"><strong>Random weights: a test, not a result.</strong> '
        f"Never trained: {', '.join(map(escape, names))}.</p>"
    )


def facts(dictionary: RosettaDictionary) -> str:
    """The run in six numbers."""
    facts = {
        "Rosetta neurons": f"{len(dictionary.neurons):,}",
        "concepts": f"{len(dictionary.concepts):,}",
        "models": f"{len(dictionary.discriminative)}",
        "images": f"{dictionary.num_images:,}",
        "K": f"{dictionary.k}",
        "seed": f"{dictionary.seed}",
    }
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())


def table(dictionary: RosettaDictionary) -> str:
    """A row per model."""
    summary = dictionary.summary
    rows = []
    for card in cards(dictionary):
        best = [n.matches[card.name][0].r for n in dictionary.neurons if card.name in n.matches]
        cells = [
            f"{len(card.layers):,}",
            f"{len(card.units):,}",
            _count(summary, "dead_units", card.name),
            _count(summary, "best_buddies", card.name),
            f"{sum(best) / len(best):.2f}" if best else "&ndash;",
        ]
        note = " <small>generator</small>" if card is dictionary.generator else ""
        digest = card.weights.get("sha256")
        rows.append(
            f'<tr><th scope="row">{escape(card.name)}{note}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + f"<td>{escape(card.weights.get('source') or 'unknown')}"
            + (f" <small><code>{escape(digest[:12])}</code></small>" if digest else "")
            + "</td></tr>"
        )
    heads = ["Model", "Layers", "Units", "Dead units", "Best buddies", "Mean best r", "Weights"]
    return (
        '<div class="wide" role="region" aria-label="Models" tabindex="0"><table><thead><tr>'
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="note">Dead units never vary. Best buddies are counted in pairs with the '
        "generator. Mean best r is over the Rosetta neurons.</p>"
    )


def _count(summary: Mapping[str, Mapping[str, int]], key: str, model: str) -> str:
    value = summary.get(key, {}).get(model)
    return "&ndash;" if value is None else f"{value:,}"


def histograms(dictionary: RosettaDictionary) -> str:
    """How r is distributed over each model's best buddies."""
    histograms = dictionary.summary.get("histogram", {})
    shown = plots.histogram_range(list(histograms.values()))
    return "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f"{plots.histogram(histograms[name], shown)}</figure>"
        for name in dictionary.discriminative
        if name in histograms
    )


def meetings(dictionary: RosettaDictionary) -> str:
    """Between which layers each model's best buddies lie."""
    tables = dictionary.summary.get("meetings", {})
    rows = [layer.name for layer in dictionary.generator.layers]
    return "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<div class="wide" role="region" aria-label="{escape(name)}" tabindex="0">'
        f"{plots.meetings(tables[name], rows, [layer.name for layer in card.layers])}"
        "</div></figure>"
        for name, card in dictionary.discriminative.items()
        if name in tables
    )


def provenance(dictionary: RosettaDictionary) -> str:
    """When, with what and how the dictionary was mined."""
    config = json.dumps(dictionary.config, indent=2, ensure_ascii=False, default=str)
    return (
        f"<p>Mined {escape(dictionary.created) or 'at an unknown time'} with rosetta_lab "
        f"{escape(dictionary.rosetta_lab) or '(unknown version)'}, seed {dictionary.seed}, "
        f"{dictionary.num_images:,} images, K = {dictionary.k}. The numbers behind this page are "
        f"in <code>dictionary.json</code>.</p><pre><code>{escape(config)}</code></pre>"
    )
