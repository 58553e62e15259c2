"""What an edit's figures say, in words: whether Rosetta units do better than their control."""

from __future__ import annotations

import math

import torch

from rosetta_lab.edit.arms import EditArm, EditRun
from rosetta_lab.edit.numbers import ARMS, TITLES, asked_figures, figure_names, figure_text
from rosetta_lab.functional.bootstrap import bootstrap_means

LOW = ("others_change", "hue_change")  # figures that are the better, the lower they are
OWN, CONTROL, DIRECT = "rosetta", "random units", "activations"


def leading(run: EditRun) -> list[str]:
    """The figures that speak of what was asked, the most telling first.

    An edit of strength always changes what it is told to; the question is what else it changes.
    """
    known = figure_names(run)
    if run.edit.strength and "others_change" in known:
        return ["others_change", "concept_change"]
    for name in ("moved_share", "concept_change", "area", "agreement"):
        if name in known and not (name == "area" and run.edit.scale is None):
            return [name]
    return []


def verdicts(run: EditRun) -> list[str]:
    """A sentence for every leading figure, with the control beside it; none without a control."""
    if OWN not in run.arms or CONTROL not in run.arms:
        return []
    return [sentence for name in leading(run) if (sentence := _verdict(run, name))]


def _verdict(run: EditRun, name: str) -> str:
    own, other = run.arms[OWN], run.arms[CONTROL]
    pairs = [
        (one[name], two[name])
        for one, two in zip(own.figures, other.figures, strict=True)
        if math.isfinite(one.get(name, math.nan)) and math.isfinite(two.get(name, math.nan))
    ]
    if not pairs:
        return ""
    values = torch.tensor(pairs, dtype=torch.float64)
    ours, theirs = (figure_text(name, value) for value in values.mean(dim=0).tolist())
    errors = torch.stack([_error(run, name, column) for column in values.t()], dim=1)
    _, low, high = (float(end) for end in bootstrap_means((errors[:, 1] - errors[:, 0])[:, None]))
    beside = f"{TITLES[name]} is {ours}, with {ARMS[CONTROL]} {theirs}"
    if len(pairs) < 2:
        found = "One image tells nothing of chance"
    elif low > 0.0:
        found = "Rosetta units do better"
    elif high < 0.0:
        found = "Random units do better"
    else:
        found = "Random units do as well"
    plural = "image" if len(pairs) == 1 else "images"
    straight = _direct(run.arms.get(DIRECT), name)
    return f"{found}: {beside} ({len(pairs)} {plural}, paired){straight}."


def _error(run: EditRun, name: str, values: torch.Tensor) -> torch.Tensor:
    """How far values are from what was asked: the lower, the better."""
    asked = asked_figures(run.edit)
    if name in asked:
        return (values - asked[name]).abs()
    if name == "concept_change":
        weaker = float(run.arms[OWN].figures[0].get(name, 0.0)) < 0.0
        return values if weaker else -values
    return values if name in LOW else -values


def _direct(arm: EditArm | None, name: str) -> str:
    values = [row[name] for row in arm.figures if name in row] if arm else []
    told = [value for value in values if math.isfinite(value)]
    if not told:
        return ""
    return f"; {ARMS[DIRECT]}: {figure_text(name, sum(told) / len(told))}"
