"""The summary that a run prints."""

from __future__ import annotations

from rosetta_lab.dictionary.schema import RosettaDictionary


def summary_table(dictionary: RosettaDictionary) -> str:
    """A plain-text table: one line per model, then the counts that matter."""
    summary = dictionary.summary
    best = {
        name: [neuron.matches[name][0].r for neuron in dictionary.neurons]
        for name in dictionary.discriminative
    }
    lines = [f"{'model':<22}{'units':>8}{'dead':>7}{'best buddies':>14}{'mean best r':>13}"]
    for name, units in summary["units"].items():
        dead = summary["dead_units"][name]
        if name == dictionary.generator.name:
            lines.append(f"{name:<22}{units:>8}{dead:>7}{'generator':>14}")
            continue
        mean = f"{sum(best[name]) / len(best[name]):.3f}" if best[name] else "-"
        lines.append(f"{name:<22}{units:>8}{dead:>7}{summary['best_buddies'][name]:>14}{mean:>13}")
    sizes = [len(concept.neurons) for concept in dictionary.concepts]
    lines.append(
        f"{len(dictionary.neurons)} Rosetta neurons in {len(sizes)} concepts "
        f"(largest {max(sizes, default=0)}), K={dictionary.k}, "
        f"{dictionary.num_images} images, mined in {summary['seconds']['mining']} s"
    )
    cards = [dictionary.generator, *dictionary.discriminative.values()]
    random = [card.name for card in cards if card.weights["source"] == "random"]
    if random:
        lines.append(f"RANDOM WEIGHTS ({', '.join(random)}): a test of the code, not a result.")
    return "\n".join(lines)
