"""The dictionary page: its pictures, plots and HTML, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from page_fixtures import HOSTILE, HOSTILE_MODEL, scenes, synthetic
from PIL import Image
from torch import Tensor

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.page import sprites
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.pages.overlays import OPACITY


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [a[attribute] or "" for name, a in self.elements if name == tag and attribute in a]


def write(folder: Path, **changes: object) -> tuple[RosettaDictionary, str]:
    dictionary, examples = synthetic(*scenes(), **changes)  # type: ignore[arg-type]
    return dictionary, write_page(dictionary, examples, folder).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads waiting for each other on a busy machine take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Pictures


def peaks(sprite: Tensor, rows: int, columns: int) -> Tensor:
    """Where each heatmap of a sprite is brightest: x, y as fractions (rows - 1, columns, 2)."""
    height, width = sprite.shape[1] // rows, sprite.shape[2] // columns
    cells = sprite.unflatten(1, (rows, height)).unflatten(3, (columns, width))
    weights = torch.tensor([0.2126, 0.7152, 0.0722])
    grey = torch.einsum("c,crhkw->rkhw", weights, cells)  # (rows, columns, h, w)
    heat = (grey[1:] - (1 - OPACITY) * grey[0]).flatten(2)  # the image taken out again
    # The middle of all the brightest pixels, since a colour may fill several.
    bright = heat >= heat.amax(dim=2, keepdim=True) - 0.02
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([(x.flatten() + 0.5) / width, (y.flatten() + 0.5) / height], dim=1)
    return (bright.float() @ place) / bright.sum(dim=2, keepdim=True)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (90, 40)])
def test_sprite_shows_the_blobs_where_they_are(size: tuple[int, int]) -> None:
    images, centres = scenes(size=size)
    dictionary, examples = synthetic(images, centres)
    maker = sprites.SpriteMaker(dictionary, examples)
    assert max(maker.cell) == sprites.CELL
    for neuron in dictionary.neurons[:4]:  # one of each blob width
        sprite = maker.draw(neuron)
        assert len(sprite.columns) == 6
        with Image.open(BytesIO(sprite.webp())) as image:
            assert image.size == (6 * maker.cell[1], 5 * maker.cell[0])
            decoded = torch.from_numpy(np.array(image)).movedim(-1, 0) / 255.0
        assert (decoded - sprite.pixels).abs().mean() < 0.03
        found = peaks(sprite.pixels, 5, 6)
        truth = centres[sprite.columns].expand(4, 6, 2)
        cell = torch.tensor([1 / 16, 1 / 8, 1 / 8, 1 / 8]).reshape(4, 1, 1)  # of the maps' grids
        assert ((found - truth).abs() <= 0.5 * cell + 1.0 / min(maker.cell)).all()


def test_sprite_starts_with_the_plain_images() -> None:
    images, centres = scenes(size=(sprites.CELL, sprites.CELL))
    dictionary, examples = synthetic(images, centres)
    sprite = sprites.SpriteMaker(dictionary, examples).draw(dictionary.neurons[4])
    assert sprite.columns == [3, 2, 1, 0, 9, 8]  # as the fixture planted it
    row = torch.cat(list(images[sprite.columns]), dim=2)
    torch.testing.assert_close(sprite.pixels[:, : sprites.CELL], row, atol=1e-5, rtol=0)


# Page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RosettaDictionary, str]:
    folder = tmp_path_factory.mktemp("page")
    return folder, *write(folder)


def test_page_lies_beside_its_pictures(page: tuple[Path, RosettaDictionary, str]) -> None:
    folder, dictionary, text = page
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = {f"page/neuron-{number}.webp" for number in range(len(dictionary.neurons))}
    assert files == {"index.html", "matches.csv", *pictures}
    assert set(Elements(text).values("img", "src")) == pictures


def test_page_asks_nobody_for_anything(page: tuple[Path, RosettaDictionary, str]) -> None:
    elements = Elements(page[2])
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in elements.elements}
    assert not any("src" in attributes for tag, attributes in elements.elements if tag == "script")
    assert "url(" not in page[2]
    outside = [link for link in elements.values("a", "href") if not link.startswith("#")]
    assert outside == ["matches.csv", "https://arxiv.org/abs/2306.09346"]  # to follow, no resources


def test_names_from_outside_stay_text(page: tuple[Path, RosettaDictionary, str]) -> None:
    elements = Elements(page[2])
    assert page[2].count("<script") == 3  # what is shared, the page's own, and its data
    assert HOSTILE in elements.text
    assert HOSTILE_MODEL in elements.text
    assert "<b>caption</b>" in elements.text
    attributes = {key for _, found in elements.elements for key in found}
    assert not [key for key in attributes if key.startswith("on")]
    assert not [src for src in elements.values("img", "src") if not src.startswith("page/")]


def test_links_within_the_page_lead_somewhere(page: tuple[Path, RosettaDictionary, str]) -> None:
    elements = Elements(page[2])
    ids = [attributes["id"] for _, attributes in elements.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = {link[1:] for link in elements.values("a", "href") if link.startswith("#")}
    assert inside <= set(ids)
    dictionary = page[1]
    assert {f"concept-{concept.id}" for concept in dictionary.concepts} <= inside
    assert {f"neuron-{number}" for number in range(len(dictionary.neurons))} <= inside


def test_every_match_is_listed(page: tuple[Path, RosettaDictionary, str]) -> None:
    _, dictionary, text = page
    articles = dict(re.findall(r'<article.*?id="neuron-(\d+)"(.*?)</article>', text, re.S))
    for number, neuron in enumerate(dictionary.neurons):
        shown = Elements(articles[str(number)]).text
        position = shown.index(f"{neuron.unit.layer} · {neuron.unit.channel}")
        for matches in neuron.matches.values():
            for match in matches:  # in this order
                position = shown.index(f"{match.layer} · {match.channel}", position)
                assert f"{match.r:.2f}" in shown


def test_overview_counts(page: tuple[Path, RosettaDictionary, str]) -> None:
    _, dictionary, text = page
    facts = re.findall(r"<dt>(?:<span.*?>)?([^<]*)(?:</span>)?</dt><dd>(.*?)</dd>", text)
    assert facts == [
        ("Rosetta neurons", "12"), ("concepts", str(len(dictionary.concepts))), ("models", "3"),
        ("images", "1,600"), ("K", "3"),
    ]  # fmt: skip
    row = re.search(r'<tr><th scope="row">resnet</th>(.*?)</tr>', text)
    assert row is not None
    best = [neuron.matches["resnet"][0].r for neuron in dictionary.neurons]
    assert re.findall("<td[^>]*>(.*?)</td>", row[1]) == [
        "4", "24", "1", str(dictionary.summary["best_buddies"]["resnet"]),
        f"{sum(best) / 12:.2f}", "embedded",
    ]  # fmt: skip


def test_random_weights_are_called_so(
    page: tuple[Path, RosettaDictionary, str], tmp_path: Path
) -> None:
    assert "not a result" not in page[2]
    _, text = write(tmp_path, source="random")
    warning = re.search(r'<p class="warning">(.*?)</p>', text)
    assert warning is not None
    assert "Random weights: a test, not a result." in warning[1]
    assert "generator_fashion" in warning[1]
    assert "resnet" not in warning[1]


def test_empty_dictionary_says_what_to_do(tmp_path: Path) -> None:
    dictionary, examples = synthetic(*scenes())
    empty = replace(dictionary, neurons=[], concepts=[])
    text = write_page(empty, examples, tmp_path).read_text(encoding="utf-8")
    assert "larger K" in " ".join(text.split())
    assert 'id="tools"' not in text


@pytest.mark.slow
def test_a_thousand_neurons_stay_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sprites, "CELL", 8)  # the pictures' size does not matter here
    dictionary, text = write(tmp_path, neurons=1000, scale=90, extra=2)
    assert len(dictionary.neurons) == 1000
    assert len(dictionary.discriminative) == 5
    assert len(text.encode()) < 3.2e6


def test_the_page_says_what_kind_of_run_it_was(tmp_path: Path) -> None:
    found, examples = synthetic(*scenes(count=6), neurons=3)

    def text(**config: object) -> str:
        found.config = config
        return write_page(found, examples, tmp_path).read_text(encoding="utf-8")

    assert "Mined without a null" in text() and "A control, not a result" not in text()
    assert "A control, not a result" in text(control="shuffled")
    found.neurons, found.concepts, found.position_only = [], [], found.neurons
    assert "has an accepted best buddy in every model" in text()
    assert "Matched by place alone" in text() and "s rule, but without" in text()
    centred = text(center="position")
    assert "Not told from chance" in centred and "s rule" not in centred
