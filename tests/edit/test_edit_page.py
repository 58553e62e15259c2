"""The page, tables and pictures of an edit that never ran."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from inversion_fixtures import HOSTILE_ID
from page_fixtures import HOSTILE
from PIL import Image
from sample_pages import IDS, edit_page, edit_run
from selenium import webdriver
from static_pages import check_links, check_page

from rosetta_lab.edit.arms import EditArm
from rosetta_lab.edit.edits import Amplify, Composed, CopyPaste, Edit, Shift, Suppress, Zoom
from rosetta_lab.edit.figures import picture_figures
from rosetta_lab.edit.numbers import arm_means, asked_figures, asked_words, edit_table, mean_text
from rosetta_lab.edit.page.pictures import map_pictures, write_animation, write_grid


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edit with spaces & signs #1")
    assert edit_page(folder) == folder / "index.html"
    return folder


def test_the_page_loads_whole_and_reads_well(driver: webdriver.Chrome, folder: Path) -> None:
    each = 2 + 3  # picture and before, ways to edit
    units, maps = 2, 3
    check_page(driver, folder / "index.html", folder, images=2 * each + 2 * units * maps)
    check_links(driver)
    text = driver.execute_script("return document.body.innerText")
    assert HOSTILE_ID in text and HOSTILE in text
    assert "0.25 of the width to the right" in text
    assert driver.execute_script("return document.title") == (
        "Zoom, then copy paste through generator_fashion"
    )
    assert "a move needs no match: random units do as well" in text
    assert driver.execute_script("return document.scripts.length") == 1


def test_every_figure_is_in_the_csv_file(folder: Path) -> None:
    with (folder / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["arm"]) for row in rows] == [
        (name, arm) for arm in ("rosetta", "random units", "activations") for name in IDS
    ]
    assert [row["moved_share"] for row in rows] == ["0.75", "0.25"] * 3
    assert rows[0]["hue_change"] == "nan" and rows[1]["hue_change"] == ""


def test_means_leave_out_what_is_not_known_and_say_so() -> None:
    arm = EditArm(
        torch.zeros(3, 3, 2, 2), figures=[{"a": 1.0}, {"a": float("nan")}, {"a": 4.0, "b": 2.0}]
    )
    assert arm_means(arm) == {"a": 2.5, "b": 2.0}
    assert [mean_text(arm, name, "{:.1f}".format) for name in "abc"] == ["2.5 (2 of 3)", "2.0", ""]
    table = edit_table(edit_run()).splitlines()
    assert table[0].split() == ["arm", "moved_share", "hue_change"]
    assert table[2].split() == ["random", "units", "0.500", "not", "told"]


@pytest.mark.parametrize(
    ("edit", "words", "figures"),
    [
        (Shift(0.25), "0.25 of the width to the right", {"moved_x": 0.25, "area": 1.0}),
        (Shift(-0.5, 0.125), "0.5 of the width to the left and 0.125 of the height down",
         {"moved_x": -0.5, "moved_y": 0.125}),
        (Zoom(1.5), "1.5 times the size", {"area": 2.25}),
        (Composed([Zoom(2.0), Zoom(0.75)]), "1.5 times the size", {"scale": 1.5}),
    ],
)  # fmt: skip
def test_what_was_asked_in_words_and_numbers(
    edit: Shift, words: str, figures: dict[str, float]
) -> None:
    assert asked_words(edit) == words
    asked = asked_figures(edit)
    assert {name: asked[name] for name in figures} == figures
    assert asked["class_kept"] == 1.0


def test_an_edit_that_asks_nothing_of_the_picture_says_so() -> None:
    assert asked_words(Suppress()) == ""
    assert asked_figures(Suppress()) == {}


HALF = [0.5, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "edit",
    [
        Shift(0.25, mask=HALF),
        Zoom(2.0, mask=HALF),
        CopyPaste(),
        Composed([Shift(0.25), Shift(0.25, mask=HALF)]),
        Composed([Shift(0.25), CopyPaste()]),
        Composed([Shift(0.25), Zoom(2.0, mask=HALF)]),
    ],
)
def test_what_is_not_asked_of_the_whole_picture_is_no_displacement(edit: Edit) -> None:
    """Nor is it a size."""
    assert (edit.displacement, edit.scale) == (None, None)
    assert asked_words(edit) == "" and asked_figures(edit) == {}
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert "moved_share" not in picture_figures(picture, picture, edit)[0]


def test_a_masked_amplification_moves_nothing_that_a_shift_does_not() -> None:
    assert Composed([Amplify(2.0, mask=HALF), Shift(0.25)]).displacement == (0.25, 0.0)


def test_animation_shows_every_frame_and_rests_on_the_last(tmp_path: Path) -> None:
    colours = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    frames = [torch.tensor(c)[:, None, None].expand(3, 8, 12) for c in colours]
    write_animation(frames, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (3, (12, 8), 0)
        seen, times = [], []
        for place in range(3):
            gif.seek(place)
            seen.append(gif.convert("RGB").getpixel((5, 5)))
            times.append(gif.info["duration"])
    assert seen == [tuple(round(255 * v) for v in colour) for colour in colours]
    assert times[0] == times[1] < times[2]


def test_grid_has_a_row_for_each_image(tmp_path: Path) -> None:
    values = torch.tensor([[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]])  # images, ways
    columns = [column[:, None, None, None].expand(2, 3, 10, 10) for column in values.t()]
    write_grid(columns, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (3 * 12 - 2, 2 * 12 - 2)
        seen = [[grid.getpixel((12 * x + 5, 12 * y + 5))[0] for x in range(3)] for y in range(2)]
    assert seen == [[0, 51, 102], [153, 204, 255]]


def test_large_images_become_smaller_in_animations(tmp_path: Path) -> None:
    write_animation([torch.rand(3, 300, 600)] * 2, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.size == (256, 128)


def test_map_pictures_share_a_scale_and_keep_their_cells() -> None:
    before, asked = torch.zeros(4, 4), torch.zeros(4, 4)
    before[1, 1], asked[1, 2] = 1.0, 1.0
    one, two, three = map_pictures(before, asked, 0.5 * asked)
    assert one.shape == (3, 96, 96)
    assert torch.equal(one[:, 24:48, 24:48], two[:, 24:48, 48:72])  # a cell is 24 pixels
    light = [picture.sum(dim=0) for picture in (one, two, three)]
    assert light[0].max() == light[1].max() > light[2].max() > light[2].min() == light[0].min()
    assert len(two[:, 24:48, 48:72].flatten(1).unique(dim=1).t()) == 1
