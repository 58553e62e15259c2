"""Recipes stand instead of defaults, and are data."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rosetta_lab.edit.recipe import with_recipe
from rosetta_lab.errors import RosettaError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("edit: [", "cannot be read"),
        ("- 1\n", "holds no edit"),
        ("steps: 3\n", "holds no edit"),
        ("edit: {}\nno_such_key: 1\n", "cannot be read"),
        ("edit: {}\nlogger: {x: {_target_: subprocess.Popen}}\n", "refused"),
    ],
)
def test_broken_recipes_are_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    if text is not None:
        path.write_text(text)
    cfg = OmegaConf.create({"recipe": str(path), "edit": {"zoom": {}}, "steps": 1, "logger": None})
    OmegaConf.set_struct(cfg, True)
    with pytest.raises(RosettaError, match=message):
        with_recipe(cfg)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["steps=3", "recipe=r"], {"steps": 3, "edit": {"zoom": {"factor": 2.0}}}),
        (["beta=2"], {"beta": 2, "loss": {"activation": 2}, "steps": 200}),
        (["edit=[shift]"], {"edit": {"shift": {"dx": 0.25}}}),
        (["hydra.run.dir=x", "logger=[]", "trainer.devices=1"], {"steps": 200, "beta": 9}),
    ],
)
def test_a_recipe_stands_instead_of_defaults(
    arguments: list[str], expected: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "edit: {zoom: {_target_: rosetta_lab.edit.edits.Zoom, factor: 2.0}}\nsteps: 200\n"
        "beta: 9\nloss: {activation: 9}\n"
    )
    cfg = OmegaConf.create({
        "recipe": str(path), "edit": {"shift": {"dx": 0.25}}, "steps": 3, "logger": None,
        "beta": 2, "loss": {"activation": "${beta}"},
    })  # fmt: skip
    found = with_recipe(cfg, arguments)
    for key, value in expected.items():
        if key == "edit":
            assert list(found.edit) == list(value) and all(  # type: ignore[call-overload]
                found.edit[kind][name] == x
                for kind, own in value.items()  # type: ignore[attr-defined]
                for name, x in own.items()
            )
        else:
            assert found[key] == value


@pytest.mark.parametrize("argument", ["edit.shift.dx=0.5", "experiments=edits"])
def test_what_does_not_go_with_a_recipe_is_refused(argument: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("edit: {zoom: {_target_: rosetta_lab.edit.edits.Zoom, factor: 2.0}}\n")
    cfg = OmegaConf.create({"recipe": str(path), "edit": {"shift": {"dx": 0.5}}})
    with pytest.raises(RosettaError, match=r"has no edit\.shift|name one of them"):
        with_recipe(cfg, [argument])
