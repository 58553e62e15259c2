"""A bridge as CSV, as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rosetta_lab.bridge.joined import Bridge
from rosetta_lab.bridge.kept import Kept, records
from rosetta_lab.bridge.kept import table as kept_table
from rosetta_lab.bridge.overlaps import Overlap
from rosetta_lab.files import atomic_write, write_csv
from rosetta_lab.run.terminal import table

JOINS_NAME, RESULTS_NAME = "joins.csv", "results.json"
OVERLAP_HEADS = ("A", "B", "both", "of A", "random", "A", "B", "both")


def write_tables(
    folder: Path, bridge: Bridge, found: Sequence[Overlap], kept: Sequence[Kept]
) -> None:
    """Write ``joins.csv``, a line for every join, and ``results.json``, all that was counted."""
    one, other = bridge.first.reference.units, bridge.second.reference.units
    heads = ["layer_a", "channel_a", "layer_b", "channel_b", "strength", "q"]
    heads += [f"{key}_{name}" for name in bridge.models for key in ("unit", "strength")]
    rows = []
    joins = bridge.joins
    for place, (a, b) in enumerate(joins.pairs.tolist()):
        row: list[object] = [*one[a], *other[b]]
        row += [f"{float(joins.strength[place]):.6f}", f"{float(bridge.q[place]):.4g}"]
        for column, name in enumerate(bridge.models):
            unit = int(joins.units[place, column])
            known = unit >= 0
            layer, channel = bridge.first.discriminative[name].units[unit] if known else ("", "")
            row += [f"{layer}/{channel}" if known else ""]
            row += [f"{float(joins.products[place, column]):.6f}" if known else ""]
        rows.append(row)
    write_csv(folder / JOINS_NAME, [heads, *rows])
    record = {
        "generators": [bridge.first.reference.name, bridge.second.reference.name],
        "models": bridge.models,
        "joins": counts(bridge),
        "overlaps": [asdict(overlap) | {"share": overlap.share} for overlap in found],
        "kept": records(list(kept)),
    }
    atomic_write(folder / RESULTS_NAME, (json.dumps(record, indent=1) + "\n").encode())


def counts(bridge: Bridge) -> dict[str, int | float]:
    """How many joins there are, how many pass the null, and of how many units."""
    accepted = bridge.accepted
    return {
        "joins": len(bridge.joins.pairs),
        "joins_of_decoys": len(bridge.decoys.pairs),
        "accepted": len(accepted.pairs),
        "by_two_models": int(((accepted.units >= 0).sum(dim=1) >= 2).sum()),
        "units_of_first": len(accepted.pairs[:, 0].unique()),
        "units_of_second": len(accepted.pairs[:, 1].unique()),
        "max_fdr": bridge.max_fdr,
    }


def bridge_text(bridge: Bridge) -> str:
    """What was joined, for people."""
    found = counts(bridge)
    return (
        f"{found['accepted']:,} of {found['joins']:,} joins of units pass q <= "
        f"{bridge.max_fdr:g}: {found['units_of_first']:,} units of "
        f"{bridge.first.reference.name} with {found['units_of_second']:,} of "
        f"{bridge.second.reference.name}, {found['by_two_models']:,} joins by two models or more\n"
        f"(decoys alone, the matches of shuffled images, give {found['joins_of_decoys']:,} joins)"
    )


def kept_text(kept: Sequence[Kept], level: float) -> str:
    """What transferred images keep, for people."""
    title = f"Transferred images against their sources [{level:.0%} intervals over images]"
    return f"{title}\n{table(kept_table(list(kept)))}"


def overlap_rows(found: Sequence[Overlap]) -> list[list[str]]:
    """Pool, model and what two generators match, for people."""
    rows = []
    for overlap in found:
        share = "" if overlap.share is None else f"{overlap.share:.0%}"
        cells = [overlap.first, overlap.second, overlap.both, share, f"{overlap.random:.1f}"]
        cells += overlap.shuffled or ["-"] * 3
        rows.append([overlap.pool, overlap.model, *map(str, cells)])
    return rows


def overlap_text(first: str, second: str, found: Sequence[Overlap]) -> str:
    """A table for people."""
    lines = [
        f"Units of discriminative models that {first} (A) and {second} (B) match",
        f"{'':<78}{'shuffled':>24}",
        f"{'pool':<14}{'model':<24}" + "".join(f"{head:>8}" for head in OVERLAP_HEADS),
    ]
    for pool, model, *cells in overlap_rows(found):
        lines.append(f"{pool:<14}{model:<24}" + "".join(f"{cell:>8}" for cell in cells))
    lines.append(
        "random: units in both, were B's drawn at random from the same layers.\n"
        "shuffled: what the same rule matches in shuffled images; - where no dictionary says.\n"
        "best_buddies: matched with this model; accepted: those that pass the null; candidates:\n"
        "of generator units with a best buddy in every model; rosetta: with an accepted one."
    )
    return "\n".join(lines)
