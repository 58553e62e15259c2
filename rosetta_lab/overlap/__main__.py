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
    heads = ("A", "B", "both", "of A", "random", "A", "B", "both")
    lines = [
        f"Units of discriminative models that {first} (A) and {second} (B) match",
        f"{'':<78}{'shuffled':>24}",
        f"{'pool':<14}{'model':<24}" + "".join(f"{head:>8}" for head in heads),
    ]
    for overlap in found:
        share = "" if overlap.share is None else f"{overlap.share:.0%}"
        cells = [overlap.first, overlap.second, overlap.both, share, f"{overlap.random:.1f}"]
        cells += overlap.shuffled or ["-"] * 3
        row = "".join(f"{cell:>8}" for cell in cells)
        lines.append(f"{overlap.pool:<14}{overlap.model:<24}{row}")
    lines.append(
        "random: units in both, were B's drawn at random from the same layers.\n"
        "shuffled: what the same rule matches in shuffled images; - where no dictionary says.\n"
        "best_buddies: matched with this model; accepted: those that pass the null; candidates:\n"
        "of generator units with a best buddy in every model; rosetta: with an accepted one."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
