"""What two generators share: ``python -m rosetta_lab.overlap dictionaries=[RUN,RUN]``."""

from __future__ import annotations

import json
from dataclasses import asdict

from omegaconf import DictConfig

from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.overlap.overlaps import Overlap, overlaps
from rosetta_lab.run.app import entry_point


@entry_point("overlap")
def main(cfg: DictConfig) -> None:
    if cfg.format not in ("text", "json"):
        raise RosettaError(f"format={cfg.format}: expected text or json.")
    if len(cfg.dictionaries) != 2:
        raise RosettaError(
            f"dictionaries: expected two run folders of rosetta_lab.mine, got "
            f"{len(cfg.dictionaries)}.\nName them with dictionaries=[embedded,FOLDER]."
        )
    first, second = (RosettaDictionary.load(dictionary_folder(s)) for s in cfg.dictionaries)
    found = overlaps(first, second)
    if cfg.format == "json":
        say(json.dumps([asdict(overlap) | {"share": overlap.share} for overlap in found]))
    else:
        say(text(first.reference.name, second.reference.name, found))


def text(first: str, second: str, found: list[Overlap]) -> str:
    """A table for people."""
    lines = [
        f"Units of discriminative models that {first} (A) and {second} (B) match",
        f"{'pool':<14}{'model':<24}{'A':>7}{'B':>7}{'both':>7}{'of A':>7}{'chance':>8}",
    ]
    for overlap in found:
        share = "" if overlap.share is None else f"{overlap.share:.0%}"
        lines.append(
            f"{overlap.pool:<14}{overlap.model:<24}{overlap.first:>7}{overlap.second:>7}"
            f"{overlap.both:>7}{share:>7}{overlap.chance:>8.1f}"
        )
    lines.append(
        "chance: units in both, were B's drawn at random from the same layers.\n"
        "best_buddies: matched with this model; rosetta: with every model."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
