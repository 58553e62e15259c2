"""What two generators match alike, as text or JSON; :mod:`rosetta_lab.bridge` tells it and more."""

from __future__ import annotations

import json
from dataclasses import asdict

from omegaconf import DictConfig

from rosetta_lab.bridge.overlaps import overlaps, two_dictionaries
from rosetta_lab.bridge.tables import overlap_text
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.run.app import entry_point


@entry_point("overlap")
def main(cfg: DictConfig) -> None:
    if cfg.format not in ("text", "json"):
        raise RosettaError(f"format={cfg.format}: expected text or json.")
    first, second = two_dictionaries(cfg.dictionaries)
    found = overlaps(first, second)
    if cfg.format == "json":
        say(json.dumps([asdict(overlap) | {"share": overlap.share} for overlap in found]))
    else:
        say(overlap_text(first.reference.name, second.reference.name, found))


if __name__ == "__main__":
    main()
