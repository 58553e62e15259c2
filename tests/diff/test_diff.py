"""What one model has and another lacks, where that is known; the command and its page."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Done, call
from page_fixtures import HOSTILE
from PIL import Image
from sample_pages import difference_page
from selenium import webdriver
from shifted import MOVES
from static_pages import check_links, check_page

from rosetta_lab.diff.coverage import concepts_of
from rosetta_lab.functional.matching import Neighbours

TESTS = Path(__file__).parents[1]
EMBEDDED = ["resnet_fashion", "clip_fashion"]
MODELS = [
    *(f"~disc.{name}" for name in EMBEDDED),
    "+disc.sees={_target_:shifted.MovedColours}",
    "+disc.again={_target_:shifted.MovedColours,colours:[2,0,1]}",
    "+disc.blind={_target_:shifted.MovedColours,colours:[1,0]}",
]
QUICK = [
    "num_images=40", "k=2", "neighbours=5", "permutations=50", "page_images=12", "shown=3",
    "cache=false", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
]  # fmt: skip


def noise(folder: Path, count: int = 40) -> None:
    """Pictures whose colours and pixels have nothing to do with each other."""
    folder.mkdir()
    source = np.random.default_rng(0)
    for number in range(count):
        picture = source.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number:02d}.png")


def diff(folder: Path, *words: str, models: int = 3) -> Done:
    """A run on the first so many models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS))
        some = MODELS[: len(EMBEDDED) + models]
        return call("diff", "images=noise", *some, *words, cwd=folder)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three models; two have all colours, each in another order, one has no blue."""
    folder = tmp_path_factory.mktemp("planted")
    noise(folder / "noise")
    done = diff(folder, *QUICK, "hydra.run.dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "blind" in done.stdout
    return folder / "run"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_units_that_one_model_lacks_are_found(planted: Path) -> None:
    """Blue ones, and no others; who has all colours finds partners for all of them."""
    order = {"sees": [0, 1, 2], "again": [2, 0, 1], "blind": [1, 0]}
    rows = read(planted / "units.csv")
    assert len(rows) == MOVES * 2 * (3 + 3 + 2)
    for row in rows:
        colour, move = divmod(int(row["channel"]), MOVES)
        colour = order[row["model"]][colour]
        expected = colour in order[row["other"]]
        assert bool(int(row["partner"])) == expected, row
        if expected:
            there = order[row["other"]].index(colour) * MOVES + move
            assert int(row["nearest_channel"]) == there
            assert float(row["nearest_r"]) == pytest.approx(1.0, abs=1e-4)
            assert float(row["q"]) <= 0.05 and float(row["nearest_q"]) <= 0.05
        else:
            assert abs(float(row["nearest_r"])) < 0.2
    shares = {(row["units of"], row["in"]): row for row in read(planted / "coverage.csv")}
    assert shares["sees", "blind"]["with a partner"] == "66.7%"
    assert shares["blind", "sees"]["with a partner"] == "100.0%"
    assert shares["sees", "again"]["with a partner"] == "100.0%"
    assert {row["in shuffled images"] for row in shares.values()} == {"0.0%"}


def test_the_page_says_what_is_missing_where(planted: Path, driver: webdriver.Chrome) -> None:
    pictures = len(list((planted / "page").glob("*.webp")))
    assert pictures >= 2  # of six ordered pairs, two lack something
    check_page(driver, planted / "index.html", planted, pictures)
    check_links(driver)
    driver.get((planted / "index.html").as_uri())
    heads = [x.text for x in driver.find_elements("css selector", "main section > h3")]
    assert "sees: 8 units of 24 without a partner in blind" in heads
    assert "blind: 0 units of 16 without a partner in sees" in heads
    cards = driver.find_elements("css selector", ".card")
    sizes = [int(re.search(r"in its concept\s+(\d+) unit", card.text)[1]) for card in cards]
    assert len(cards) == pictures and sum(sizes) == 2 * MOVES  # all of them, each in one concept
    assert all("partners in" in card.text for card in cards)
    assert {card.text.split("partners in")[1].split()[0] for card in cards} == {"again", "sees"}


def test_names_from_outside_are_text(tmp_path: Path, driver: webdriver.Chrome) -> None:
    page = difference_page(tmp_path)
    check_page(driver, page, tmp_path, 2)
    assert HOSTILE in driver.find_element("css selector", ".card h3").text


@pytest.mark.parametrize(
    ("models", "word", "message"),
    [
        (3, "null=none", "null=none: without other images"),
        (3, "neighbours=40", "neighbours=40: there are only 40 images"),
        (1, "k=2", "there is no model to compare"),
    ],
)
def test_mistakes(models: int, word: str, message: str, tmp_path: Path) -> None:
    noise(tmp_path / "noise")
    usual = [given for given in QUICK if given.split("=")[0] != word.split("=")[0]]
    done = diff(tmp_path, *usual, word, models=models)
    assert done.returncode == 1 and message in done.stdout + done.stderr


def test_concepts_are_connected_units() -> None:
    """0-1-2 are each other's neighbours; 4 is joined to 3 alone, which is not among them."""
    rows = torch.tensor([[1], [0], [1], [4], [3]])
    found = Neighbours(rows, rows, torch.zeros(5, 1), {})
    assert concepts_of(torch.tensor([4, 1, 0]), found, 1) == [[4], [1, 0]]
    assert concepts_of(torch.tensor([], dtype=torch.long), found, 1) == []
