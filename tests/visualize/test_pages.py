"""Pages of concepts and their atlas: sheets of images, and what leads where."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from page_fixtures import HOSTILE_MODEL, scenes, synthetic
from sample_pages import atlas_pages, dictionary_page, hostile_dictionary
from selenium import webdriver
from static_pages import check_links, check_page

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.page.concepts import link_atlas
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.colormap import colourise
from rosetta_lab.pages.overlays import CELL, OPACITY
from rosetta_lab.visualize.page.sheets import describe, join, scales, sheet
from rosetta_lab.visualize.view import Seen, rows


def test_sheet_lays_maps_over_the_images_on_one_scale() -> None:
    key = ("model", Unit("layer", 0))
    grey = torch.full((2, 3, 16, 16), 0.5)
    one = Seen(["a", "b"], grey, {key: torch.stack([torch.zeros(2, 2), torch.full((2, 2), 3.0)])})
    other = Seen(["c"], grey[:1], {key: torch.full((1, 2, 2), -1.0)})
    scale = scales([one, other])
    assert scale == {key: (-1.0, 3.0)}
    pixels = sheet(join(other, one), scale, [torch.zeros(3, 3, 16, 16)]).pixels
    assert pixels.shape == (3, 3 * CELL, 3 * CELL)
    middle = pixels[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
    assert torch.allclose(middle[:, 0], torch.zeros(3, 3))
    assert torch.allclose(middle[:, 1], torch.full((3, 3), 0.5), atol=1e-3)
    colours = colourise(torch.tensor([[0.0, 0.25, 1.0]]))[:, 0]
    assert torch.allclose(middle[:, 2], OPACITY * colours + (1 - OPACITY) * 0.5, atol=0.01)


def test_rows_of_neurons_that_share_a_match_are_shown_once() -> None:
    dictionary, _ = synthetic(*scenes())
    one, two = dictionary.neurons[:2]
    two.matches["resnet"][0] = one.matches["resnet"][0]
    found = rows(dictionary, [0, 1])
    assert len(found) == len(set(found)) == 2 * (1 + len(dictionary.discriminative)) - 1
    assert found[0] == (dictionary.reference.name, one.unit)


def test_rows_of_a_sheet_stand_beside_the_units_they_show() -> None:
    dictionary, _ = synthetic(*scenes())
    own, models = dictionary.reference.name, dictionary.discriminative
    shown = rows(dictionary, [3, 1])
    found = describe(
        "a.webp", Seen(["x"], torch.zeros(1), dict.fromkeys(shown, torch.zeros(1))), dictionary,
        "one", "two",
    )  # fmt: skip
    assert (found.picture, found.names, found.heads) == ("a.webp", ["x"], ("one", "two"))
    assert [(model, unit) for model, unit, _ in found.units] == shown
    expected = [
        match
        for neuron in (dictionary.neurons[3], dictionary.neurons[1])
        for match in (None, *(neuron.matches[name][0] for name in models))
    ]
    assert [match for *_, match in found.units] == expected
    assert [match for model, _, match in found.units if model == own] == [None, None]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RosettaDictionary]:
    folder = tmp_path_factory.mktemp("atlas & #1")
    return folder, atlas_pages(folder)[0]


def test_a_concepts_page_loads_whole_and_reads_well(
    driver: webdriver.Chrome,
    atlas: tuple[Path, RosettaDictionary],
) -> None:
    folder, dictionary = atlas
    units = len(rows(dictionary, dictionary.concepts[1].neurons))
    check_page(driver, folder / "concept_1.html", folder, images=4 + 3 * units)
    check_links(driver)
    text = driver.execute_script("return document.body.innerText")
    assert HOSTILE_MODEL in text and "0.80" in text and "class 7" in driver.page_source
    assert driver.execute_script("return document.scripts.length") == 1


def test_the_index_leads_to_every_concept(
    driver: webdriver.Chrome,
    atlas: tuple[Path, RosettaDictionary],
) -> None:
    folder, _ = atlas
    check_page(driver, folder / "index.html", folder, images=4)
    check_links(driver)
    links = driver.execute_script("return [...document.links].map((link) => link.textContent)")
    assert links == ["Concept 1", "Concept 2"]


def test_the_dictionarys_page_gets_one_link_for_each_concept(tmp_path: Path) -> None:
    page = dictionary_page(tmp_path).read_text(encoding="utf-8")
    numbers = [concept.id for concept in hostile_dictionary()[0].concepts]
    linked = link_atlas(page, numbers)
    for number in numbers:
        assert linked.count(f'href="atlas/concept_{number}.html"') == 1
    assert link_atlas(linked, numbers) == linked
    assert link_atlas(page, []) == page
