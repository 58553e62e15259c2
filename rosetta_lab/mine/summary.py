"""The summary that a run prints."""

from __future__ import annotations

from rosetta_lab.dictionary.schema import RosettaDictionary


def summary_table(dictionary: RosettaDictionary) -> str:
    """A plain-text table: one line per model, then the counts that matter and what chance finds."""
    summary = dictionary.summary
    null = summary.get("null")
    best = {
        name: [neuron.matches[name][0].r for neuron in dictionary.neurons]
        for name in dictionary.discriminative
    }
    heads = ["units", "dead", "best buddies", *(["accepted", "shuffled"] if null else []), "best r"]
    widths = [len(head) + 3 for head in heads]
    rows = [("model", heads)]
    for name, units in summary["units"].items():
        cells = [f"{units}", f"{summary['dead_units'][name]}"]
        if name == dictionary.generator.name:
            cells.append("generator")
        else:
            cells.append(f"{summary['best_buddies'][name]}")
            if null:
                cells.append(f"{null['accepted_best_buddies'][name]}")
                cells.append(f"{null['shuffled_best_buddies'][name]:.0f}")
            cells.append(f"{sum(best[name]) / len(best[name]):.3f}" if best[name] else "-")
        rows.append((name, cells))
    lines = [
        f"{name:<22}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=False))
        for name, cells in rows
    ]
    sizes = [len(concept.neurons) for concept in dictionary.concepts]
    lines.append(
        f"{len(dictionary.neurons)} Rosetta neurons in {len(sizes)} concepts "
        f"(largest {max(sizes, default=0)}), K={dictionary.k}, "
        f"{dictionary.num_images} images, mined in {summary['seconds']['mining']} s"
    )
    if null:
        lines.append(
            f"The paper's rule alone finds {null['candidates']}, and "
            f"{null['shuffled_rosetta_neurons']:g} among shuffled images, of which "
            f"{null['shuffled_rosetta_neurons_accepted']:g} would be accepted."
        )
        if dictionary.position_only:
            lines.append(
                f"{len(dictionary.position_only)} are left out: they fire at the same places, "
                "without evidence of the same content."
            )
    if "stability" in summary:
        stable = summary["stability"]
        lines.append(
            f"Two halves of the images ({stable['images_of_a_half']} each) have "
            f"{stable['neurons']:.0%} of their Rosetta neurons in common."
        )
    cards = [dictionary.generator, *dictionary.discriminative.values()]
    random = [card.name for card in cards if card.weights["source"] == "random"]
    if random:
        lines.append(f"RANDOM WEIGHTS ({', '.join(random)}): a test of the code, not a result.")
    return "\n".join(lines)
