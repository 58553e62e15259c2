"""Edits one after another, from configs and with masks from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

from rosetta_lab.edit.edits import Amplify, CopyPaste, Edit, Shift, Suppress, Zoom, compose
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root

# Recipes


def test_what_is_asked_of_the_picture() -> None:
    assert Shift(0.25, -0.1).displacement == (0.25, -0.1) and Shift().scale is None
    assert Zoom(2.0).scale == 2.0 and Zoom(2.0).displacement is None
    assert [edit.start for edit in (Zoom(), Shift(), CopyPaste(), Suppress(), Amplify())] == [
        "source",
        "source",
        "random",
        "source",
        "source",
    ]
    both = compose([Zoom(2.0, (0.25, 0.5)), Shift(0.1)])
    assert (both.scale, both.displacement, both.start) == (2.0, None, "source")
    assert compose([Shift(0.25), Shift(0.0, 0.5)]).displacement == (0.25, 0.5)
    assert compose([Shift(0.25), CopyPaste()]).start == "random"
    assert compose([Suppress(), Amplify()]).scale is None


@pytest.mark.parametrize(
    "edit", [Zoom(1.5, (0.25, 0.75)), Shift(0.25, -0.125), compose([Zoom(0.5), Shift(0.125)])]
)
def test_destination_is_where_a_blob_goes(edit: Edit) -> None:
    start = torch.tensor([0.4, 0.55])
    grid = (torch.arange(64) + 0.5) / 64
    blob = torch.exp(-((grid[:, None] - start[1]) ** 2 + (grid[None] - start[0]) ** 2) / 0.003)
    moved = edit(blob[None, None], torch.zeros(1))[0, 0]
    found = torch.stack([(moved.sum(0) * grid).sum(), (moved.sum(1) * grid).sum()]) / moved.sum()
    torch.testing.assert_close(found, edit.destination(start), rtol=0.0, atol=0.002)


def test_edits_follow_one_another_in_order() -> None:
    row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    floor = torch.zeros(1)
    first = compose([Shift(0.25), Zoom(2.0)])(row, floor)
    assert torch.equal(first, Zoom(2.0)(Shift(0.25)(row, floor), floor))
    assert not torch.equal(first, compose([Zoom(2.0), Shift(0.25)])(row, floor))


def configured(*overrides: str) -> dict[str, Edit]:
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = compose_config(overrides=[*overrides])
    return {name: instantiate(entry) for name, entry in cfg.edit.items()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("zoom", Zoom),
        ("shift", Shift),
        ("copy_paste", CopyPaste),
        ("suppress", Suppress),
        ("amplify", Amplify),
    ],
)
def test_configs_are_the_constructors_defaults(name: str, kind: type[Edit]) -> None:
    edit = configured(f"+edit=[{name}]")[name]
    assert type(edit) is kind
    assert vars(edit) == vars(kind())


def test_every_config_is_tested() -> None:
    names = sorted(path.stem for path in (asset_root() / "conf" / "edit").glob("*.yaml"))
    assert names == ["amplify", "copy_paste", "shift", "suppress", "zoom"]


@pytest.mark.parametrize("order", [["zoom", "shift"], ["shift", "zoom"]])
def test_configs_compose_in_order(order: list[str]) -> None:
    found = configured(f"+edit=[{','.join(order)}]", "edit.shift.dx=-0.5", "edit.zoom.factor=3")
    assert list(found) == order
    assert found["shift"].displacement == (-0.5, 0.0) and found["zoom"].scale == 3.0


def test_mask_from_a_file(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 10))
    picture.paste((255, 255, 255), (0, 0, 10, 10))
    picture.save(tmp_path / "left.png")
    maps, floor = torch.rand(3, 2, 4, 4), torch.tensor([-1.0, -2.0])
    edit = configured("+edit=[suppress]", f"edit.suppress.mask={tmp_path / 'left.png'}")["suppress"]
    assert torch.equal(edit(maps, floor), Suppress([0.0, 0.0, 0.5, 1.0])(maps, floor))


@pytest.mark.parametrize(
    ("make_edit", "message"),
    [
        (lambda: Zoom(0.0), "factor=0.0"),
        (lambda: Zoom(2.0, (0.5, 1.5)), r"centre=\[0.5, 1.5\]"),
        (lambda: Shift(25), "dx=25.*fractions"),
        (lambda: Shift(fill="mean"), "fill=mean.*floor, edge or a number"),
        (lambda: CopyPaste(at=1.0), "at=1.0"),
        (lambda: CopyPaste(axis="z"), "axis=z"),
        (lambda: Amplify(-1.0), "factor=-1.0"),
        (lambda: Suppress([0.5, 0.0, 0.5, 1.0]), "mask=.*box"),
        (lambda: Suppress([10, 10, 50, 50]), "mask=.*fractions"),
        (lambda: Suppress("nowhere.png"), "mask=nowhere.png"),
        (lambda: Suppress(__file__), "mask=.*cannot be read"),
        (lambda: compose([]), "No edit"),
    ],
)
def test_mistakes_are_told(make_edit: object, message: str) -> None:
    with pytest.raises(RosettaError, match=message):
        make_edit()  # type: ignore[operator]
