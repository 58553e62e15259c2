"""Runs of inversions: what differs between them, and which is the baseline of which."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.invert.results import RESULT, Results, read_record
from rosetta_lab.run.configs import all_moved, matters
from rosetta_lab.run.foreign import LONGEST, check_links, read_yaml

log = logging.getLogger("rosetta_lab")


@dataclass
class ComparedRun:
    """A run that is compared, which may be anybody's: what it says of itself is data.

    Attributes:
        folder: of the run.
        cfg: its configuration, as it was written: ``${...}`` is text.
        overrides: what its command line chose: key to value.
        records: id to the figures of an image.
        name: what tells it from the others.
        parameters: the choices in which the arms differ: key to value.
    """

    folder: Path
    cfg: dict[str, Any]
    overrides: dict[str, str]
    records: dict[str, dict[str, Any]]
    name: str = ""
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        """Its images."""
        return Results(self.folder)


def run_folders(folder: Path) -> list[Path]:
    """A run's folder itself, or the runs in a sweep's folder.

    Raises:
        RosettaError: there are no results in it.
    """
    if (folder / "results").is_dir():
        return [folder]
    if folder.is_dir():
        inside = [path for path in folder.iterdir() if (path / "results").is_dir()]
        if inside:
            return sorted(inside, key=lambda path: (len(path.name), path.name))
    raise RosettaError(
        f"{folder}: there are no results of inversions in this folder.\n"
        "Name run folders of rosetta_lab.invert, or the folder of a --multirun."
    )


def read_arm(folder: Path) -> ComparedRun:
    """Read a run's folder.

    Raises:
        RosettaError: its configuration is not there.
    """
    hydra = folder / ".hydra"
    if not (hydra / "config.yaml").is_file():
        raise RosettaError(f"{folder}: this is not a run folder (no .hydra/config.yaml in it).")
    check_links(folder)
    cfg = all_moved(read_yaml(hydra / "config.yaml"))
    words = read_yaml(hydra / "overrides.yaml")
    if (
        not isinstance(cfg, dict)
        or not isinstance(words, list)
        or any(len(str(word)) > LONGEST for word in words)
    ):
        raise RosettaError(
            f"{folder}: this is not a run folder (.hydra holds no configuration of a run)."
        )
    try:
        parsed = OverridesParser.create().parse_overrides([str(word) for word in words])
    except (OverrideParseException, RecursionError) as error:
        reason = printable(str(error).splitlines()[0])
        raise RosettaError(f"{hydra / 'overrides.yaml'}: cannot be read ({reason}).") from None
    overrides = {
        override.get_key_element().lstrip("+~"): override.get_value_element_as_str()
        for override in parsed
    }
    root = folder / "results"
    records = {
        path.parent.relative_to(root).as_posix(): read_record(
            path, path.parent.relative_to(root).as_posix()
        )
        for path in sorted(root.rglob(RESULT))
        if not path.parent.name.startswith(".new_")
    }
    return ComparedRun(folder, cfg, overrides, records)


def read_arms(folders: Sequence[Path]) -> list[ComparedRun]:
    """Read runs and name them by the choices in which they differ.

    Raises:
        RosettaError: there are fewer than two with results, or a folder is not a run's.
    """
    read = [read_arm(run) for folder in folders for run in run_folders(folder)]
    arms = [arm for arm in read if arm.records]
    for arm in read:
        if not arm.records:
            log.warning("%s is left out: it has no result.", arm.folder)
    if len(arms) < 2:
        raise RosettaError(
            "There is nothing to compare: fewer than two runs with results.\n"
            "Name them with runs=[FOLDER,FOLDER,...], or the folder of a --multirun."
        )
    keys = dict.fromkeys(key for arm in arms for key in arm.overrides)
    values = {
        key: [arm.overrides.get(key, _configured(arm.cfg, key)) for arm in arms]
        for key in keys
        if matters(key)
    }
    differing = {key: column for key, column in values.items() if len(set(column)) > 1}
    for place, arm in enumerate(arms):
        arm.parameters = {key: column[place] for key, column in differing.items()}
        words = [f"{key}={value}" for key, value in arm.parameters.items()]
        arm.name = next(iter(arm.parameters.values())) if len(words) == 1 else " ".join(words)
    names = [arm.name for arm in arms]
    for arm in arms:
        if names.count(arm.name) > 1 or not arm.name:
            arm.name = f"{arm.name} {arm.folder.name}".strip()
    return arms


def _configured(cfg: Mapping[str, Any], key: str) -> str:
    value = _found(cfg, key)
    if isinstance(value, dict):  # a group: its member's name, where it has one
        value = value.get("name", "default")
    return "null" if value is None else str(value)


def _found(cfg: Mapping[str, Any], key: str) -> Any:
    """What a key stands for. One that refers to another key, and does no more, is followed."""
    for _ in range(8):
        value: Any = cfg
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if not isinstance(value, str) or not (other := re.fullmatch(r"\$\{([\w.]+)\}", value)):
            return value
        key = other[1]
    return None


def find_baselines(arms: Sequence[ComparedRun], wanted: str | None = None) -> list[int]:
    """Number of the arm that every arm is compared with; its own number for a baseline.

    Args:
        arms: all of them.
        wanted: name of the one for all, or its folder's; None for the arm without matches that
            differs from an arm in nothing else (so that starts, say, are not mixed up), where there
            is none for the first without matches, else for the first.

    Raises:
        RosettaError: there is no such arm.
    """
    if wanted is not None:
        for names in ([arm.name for arm in arms], [arm.folder.name for arm in arms],
                      [str(arm.folder) for arm in arms]):  # fmt: skip
            if str(wanted) in names:
                return [names.index(str(wanted))] * len(arms)
        raise RosettaError(
            f"baseline={wanted}: there is no such run.\n"
            f"Choose from {', '.join(repr(arm.name) for arm in arms)}."
        )

    def besides(arm: ComparedRun) -> dict[str, str]:
        return {
            key: value for key, value in arm.parameters.items() if key not in ("matches", "pool")
        }

    plain = [place for place, arm in enumerate(arms) if _without_matches(arm.cfg)]
    common = plain[0] if plain else 0
    own = {
        place: next((other for other in plain if besides(arms[other]) == besides(arm)), common)
        for place, arm in enumerate(arms)
        if place not in plain
    }
    # A run without matches that no other one is held against is one among others itself.
    return [own.get(p, p if p in own.values() else common) for p in range(len(arms))]


def _without_matches(cfg: Mapping[str, Any]) -> bool:
    """Whether a run compared no units."""
    return cfg.get("matches") in (None, "none") or cfg.get("pool") == "none"
