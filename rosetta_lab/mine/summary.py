"""The summary that a run prints."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.run.terminal import table


def summary_table(dictionary: RosettaDictionary) -> str:
    """A plain-text table: one line per model, then the counts that matter and what chance finds."""
    summary = dictionary.summary
    null = summary.get("null")
    best = {
        name: [neuron.matches[name][0].r for neuron in dictionary.neurons]
        for name in dictionary.discriminative
    }
    evidence = ["accepted", "shuffled", "content from"] if null else []
    heads = ["units", "dead", "best buddies", *evidence, "best r"]
    rows = [("model", heads)]
    for name, units in summary["units"].items():
        cells = [f"{units}", f"{summary['dead_units'][name]}"]
        if name == dictionary.reference.name:
            cells.append("reference")
        else:
            cells.append(f"{summary['best_buddies'][name]}")
            if null:
                cells.append(f"{null['accepted_best_buddies'][name]}")
                cells.append(f"{null['shuffled_best_buddies'][name]:.0f}")
                lowest = null["thresholds"][name]
                cells.append("-" if lowest is None else f"{lowest:.2f}")
            cells.append(f"{sum(best[name]) / len(best[name]):.3f}" if best[name] else "-")
        rows.append((name, cells))
    lines = [table([[name, *cells] for name, cells in rows])]
    sizes = [len(concept.neurons) for concept in dictionary.concepts]
    lines.append(
        f"{len(dictionary.neurons)} Rosetta neurons in {len(sizes)} concepts "
        f"(largest {max(sizes, default=0)}), K={dictionary.k}, "
        f"{dictionary.num_images} images, mined in {summary['seconds']['mining']} s"
    )
    lines += _chance(dictionary)
    if "cliques" in summary:
        counts = ", ".join(f"{count} of {n} models" for n, count in summary["cliques"].items())
        lines.append(
            "Every model was the reference: units that are all best buddies form cliques, "
            f"{counts or 'none'}; those of all are the concepts."
        )
    if "stability" in summary:
        stable = summary["stability"]
        lines.append(
            f"Two halves of the images ({stable['images_of_a_half']} each) have "
            f"{stable['neurons']:.0%} of their Rosetta neurons in common."
        )
    if "products" in summary:
        lines.append(
            f"Products in {summary['products']['arithmetic']} changed r by at most "
            f"{max(summary['products']['difference_of_r'].values()):.0e} in a first batch."
        )
    if "controls" in summary:
        lines += _untrained(dictionary, summary["controls"]["untrained"])
    cards = [dictionary.reference, *dictionary.discriminative.values()]
    random = [card.name for card in cards if card.weights["source"] == "random"]
    if random:
        lines.append(f"RANDOM WEIGHTS ({', '.join(random)}): a test of the code, not a result.")
    return "\n".join(lines)


def _chance(dictionary: RosettaDictionary) -> list[str]:
    """What was held against chance, and how, in words."""
    summary, config = dictionary.summary, dictionary.config
    if "null" not in summary:
        return ["Without a null: how many of these chance alone would find is not known."]
    null, centred = summary["null"], config.get("center") == "position"
    lines = []
    if config.get("control") == "shuffled":
        lines.append("A CONTROL: every model saw other images, so that there is nothing to find.")
    rule = "Matching without position alone" if centred else "The paper's rule alone"
    lines.append(
        f"{rule} finds {null['candidates']}, and "
        f"{null['shuffled_rosetta_neurons']:g} among shuffled images, of which "
        f"{null['shuffled_rosetta_neurons_accepted']:g} would be accepted."
    )
    if left := len(dictionary.position_only):
        why = (
            "they agree no better than by chance"
            if centred
            else ("they fire at the same places, without evidence of the same content")
        )
        lines.append(f"{left} are left out: {why}.")
    few = [
        name
        for name, pairs in summary["best_buddies"].items()
        if pairs * null["draws"] * null["max_fdr"] < 1
    ]
    if few:
        lines.append(
            f"Too few best buddies to be told from chance at {null['max_fdr']:.3g}, however well "
            f"they agree: {', '.join(few)}. More draws= may do."
        )
    return lines


def _untrained(dictionary: RosettaDictionary, found: Mapping[str, Any]) -> list[str]:
    """What the models' own architectures with random weights have, in words."""
    everyone = [*dictionary.neurons, *dictionary.position_only]
    scores = {
        "median score": found["candidates_median_score"],
        "trained": median(neuron.score for neuron in everyone) if everyone else None,
    }
    words = [f"{name} {value:.2f}" for name, value in scores.items() if value is not None]
    line = f"Untrained, the same architectures have {found['candidates']} by the paper's rule alone"
    line += f" ({', '.join(words)})" if words else ""
    if null := found.get("null"):
        line += (
            f", {null['shuffled_rosetta_neurons']:g} among shuffled images, and "
            f"{found['rosetta_neurons']} are accepted"
        )
    lines = [
        f"{line}.",
        "That is another question, reported and not subtracted: random convolutions keep edges "
        "and colours.",
    ]
    if kept := found["kept"]:
        lines.append(f"{', '.join(kept)} came without weights to leave out, and stayed as before.")
    return lines
