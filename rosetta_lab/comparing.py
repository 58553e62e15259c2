"""Runs of inversions side by side: what differs between them, and which is how much better."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.report.figures import BEFORE, Figure, figure, figures
from rosetta_lab.results import RESULT, TARGET, Results

log = logging.getLogger("rosetta_lab")
# What says how to run, not what to do
HOW = ("resume", "logger", "batch_size", "objective", "reference", "hydra", "trainer")
OF_LOSS_WEIGHTS = "loss/total"  # its parts are weighted differently by different runs


@dataclass
class Arm:
    """A run that is compared.

    Attributes:
        folder: of the run.
        cfg: its configuration.
        overrides: what its command line chose: key to value.
        records: id to the figures of an image.
        name: what tells it from the others.
        parameters: the choices in which the arms differ: key to value.
    """

    folder: Path
    cfg: DictConfig
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


def read_arm(folder: Path) -> Arm:
    """Read a run's folder.

    Raises:
        RosettaError: its configuration is not there.
    """
    hydra = folder / ".hydra"
    if not (hydra / "config.yaml").is_file():
        raise RosettaError(f"{folder}: this is not a run folder (no .hydra/config.yaml in it).")
    cfg, words = OmegaConf.load(hydra / "config.yaml"), OmegaConf.load(hydra / "overrides.yaml")
    assert isinstance(cfg, DictConfig)
    overrides = {
        override.get_key_element().lstrip("+~"): override.get_value_element_as_str()
        for override in OverridesParser.create().parse_overrides([str(word) for word in words])
    }
    root = folder / "results"
    records = {
        path.parent.relative_to(root).as_posix(): json.loads(path.read_text())
        for path in sorted(root.rglob(RESULT))
        if not path.parent.name.startswith(".new_")
    }
    return Arm(folder, cfg, overrides, records)


def read_arms(folders: Sequence[Path]) -> list[Arm]:
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
        if key.split(".")[0] not in HOW
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


def _configured(cfg: DictConfig, key: str) -> str:
    value = OmegaConf.select(cfg, key)
    if OmegaConf.is_config(value):  # a group: its member's name, where it has one
        value = value.get("name", "default") if isinstance(value, DictConfig) else list(value)
    return "null" if value is None else str(value)


def find_baselines(arms: Sequence[Arm], wanted: str | None = None) -> list[int]:
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

    def besides(arm: Arm) -> dict[str, str]:
        return {key: value for key, value in arm.parameters.items() if key != "matches"}

    plain = [place for place, arm in enumerate(arms) if arm.cfg.get("matches") in (None, "none")]
    common = plain[0] if plain else 0
    own = {
        place: next((other for other in plain if besides(arms[other]) == besides(arm)), common)
        for place, arm in enumerate(arms)
        if place not in plain
    }
    # A run without matches that no other one is held against is one among others itself.
    return [own.get(p, p if p in own.values() else common) for p in range(len(arms))]


@dataclass
class Row:
    """A figure of an arm over the images.

    Attributes:
        images: how many have this figure in every arm: nothing can be read from some images.
        mean, low, high: of the figure.
        gain, gain_low, gain_high: mean improvement on the baseline, image by image; positive is
            better, whichever way the figure goes; None for the baseline.
        wins, ties: images on which the arm is better than the baseline, or equal.
    """

    arm: Arm
    figure: Figure
    images: int
    mean: float
    low: float
    high: float
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    wins: int | None = None
    ties: int | None = None


@dataclass
class Comparison:
    """Arms on the same images.

    Attributes:
        arms: all of them, the baseline among them.
        baselines: number of the arm that each is compared with; a baseline's is its own.
        ids: images that every arm has.
        rows: arm by arm, figure by figure.
    """

    arms: list[Arm]
    baselines: list[int]
    ids: list[str]
    rows: list[Row]

    @property
    def figures(self) -> list[Figure]:
        """Those that every arm has, losses last."""
        return list(dict.fromkeys(row.figure for row in self.rows))

    @property
    def groups(self) -> list[list[Arm]]:
        """Arms with a common baseline, which stands first."""
        return [
            sorted(
                (arm for arm, own in zip(self.arms, self.baselines, strict=True) if own == base),
                key=lambda arm: arm is not self.arms[base],
            )
            for base in dict.fromkeys(self.baselines)
        ]

    def row(self, arm: Arm, name: str) -> Row | None:
        """An arm's row of a figure."""
        return next((r for r in self.rows if r.arm is arm and r.figure.name == name), None)


def compare(
    arms: list[Arm],
    baselines: list[int] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare arms on the images that all of them have, figure by figure on those which have it.

    Args:
        arms: all of them.
        baselines: see :class:`Comparison`; by default :func:`find_baselines`.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.

    Raises:
        RosettaError: there is no such image.
    """
    baselines = find_baselines(arms) if baselines is None else baselines
    first = arms[0].records
    ids = [name for name in first if all(name in arm.records for arm in arms)]
    if not ids:
        raise RosettaError("The runs have no image in common. Compare runs on the same images.")
    most = max(len(arm.records) for arm in arms)
    if len(ids) < most:
        log.warning("%d images that not every run has are left out.", most - len(ids))
    warn_of_other_targets(arms, ids)
    names = [
        name
        for name in figures([first[i] for i in ids])
        if name != OF_LOSS_WEIGHTS and not name.startswith(BEFORE)
    ]
    rows: list[Row] = []
    for name in names:
        having = [i for i in ids if all(name in arm.records[i] for arm in arms)]
        if not having:
            continue
        kind = figure(name)
        values = torch.tensor(
            [[arm.records[i][name] for arm in arms] for i in having], dtype=torch.float64
        )  # (N, A)
        gains = (1.0 if kind.higher else -1.0) * (values - values[:, baselines])
        found = bootstrap_means(torch.cat([values, gains], dim=1), resamples, level, seed)
        for place, arm in enumerate(arms):
            mean, low, high = (float(column[place]) for column in found)
            row = Row(arm, kind, len(having), mean, low, high)
            if place != baselines[place]:
                column = len(arms) + place
                row.gain, row.gain_low, row.gain_high = (float(c[column]) for c in found)
                row.wins = int((gains[:, place] > 0).sum())
                row.ties = int((gains[:, place] == 0).sum())
            rows.append(row)
    return Comparison(arms, baselines, ids, rows)


def warn_of_other_targets(arms: Sequence[Arm], ids: Sequence[str]) -> None:
    """Say so where runs inverted different images under the same names."""
    for name in ids:
        contents = {(arm.results.root / name / TARGET).read_bytes() for arm in arms}
        if len(contents) > 1:
            log.warning(
                "'%s' is not the same image in all runs (other data.seed=, data.style= or size?).\n"
                "Gains then compare inversions of different images.",
                name,
            )
            return
