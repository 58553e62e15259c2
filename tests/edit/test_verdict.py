"""What an edit's figures say in words: against its control, never by itself."""

from __future__ import annotations

import pytest
import torch

from rosetta_lab.edit.arms import EditArm, EditRun
from rosetta_lab.edit.edits import Amplify, Edit, Shift, Suppress
from rosetta_lab.edit.verdict import leading, verdicts
from rosetta_lab.invert.sources import Sources

NOTHING = torch.zeros(1, 3, 2, 2)


def made(edit: Edit, name: str, own: list[float], other: list[float]) -> EditRun:
    run = EditRun(edit, Sources([], torch.zeros(1), None, None), NOTHING, NOTHING)
    for arm, values in (("rosetta", own), ("random units", other)):
        figures = [{name: value, "concept_change": -0.9} for value in values]
        run.arms[arm] = EditArm(NOTHING, figures=figures)
    return run


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        ([0.8, 0.82, 0.81], [0.81, 0.81, 0.81], "Random units do as well"),
        ([0.9, 0.92, 0.91], [0.5, 0.52, 0.49], "Rosetta units do better"),
        ([1.5, 1.6, 1.7], [0.9, 0.95, 0.92], "Random units do better"),  # farther than was asked
        ([0.9], [0.1], "One image tells nothing of chance"),
    ],
)
def test_a_shift_is_held_against_its_control(
    own: list[float], other: list[float], said: str
) -> None:
    run = made(Shift(0.25), "moved_share", own, other)
    assert leading(run) == ["moved_share"]
    (sentence,) = verdicts(run)
    assert sentence.startswith(f"{said}: share of the way is {100 * sum(own) / len(own):.0f} %")


@pytest.mark.parametrize("edit", [Suppress(), Amplify(2.0)])
def test_edits_of_strength_lead_with_what_else_they_change(edit: Edit) -> None:
    run = made(edit, "others_change", [0.1, 0.11, 0.09], [0.6, 0.62, 0.64])
    first, second = verdicts(run)
    assert first.startswith("Rosetta units do better: change of the others is 10 %, with as many")
    assert second.startswith("Random units do as well: change of the edited concepts is \u221290 %")


def test_without_a_control_nothing_is_said() -> None:
    run = made(Shift(0.25), "moved_share", [0.8], [0.8])
    del run.arms["random units"]
    assert verdicts(run) == []
