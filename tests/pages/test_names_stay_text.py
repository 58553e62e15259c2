"""Names from outside stay text on every page: as files, and in headless Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from inversion_fixtures import HOSTILE_ID
from page_fixtures import HOSTILE, HOSTILE_MODEL
from sample_pages import (
    HOSTILE_CLASS,
    HOSTILE_VALUE,
    PAGES,
    ablation_page,
    atlas_index,
    comparison_page,
    concept_page,
    dictionary_page,
    difference_page,
    edit_page,
    inversions_page,
    retrieval_page,
)
from selenium import webdriver
from static_pages import load_images

from rosetta_lab.pages import document

Made = tuple[Callable[[Path], Path], Path]  # what makes a page, and the page
SCRIPTS = {dictionary_page: 3, inversions_page: 3, comparison_page: 3}  # the others have one
# What each page must show, so that it was not escaped by being left out.
SHOWN = {
    dictionary_page: [HOSTILE, HOSTILE_MODEL, HOSTILE_CLASS, HOSTILE_VALUE, "<b>caption</b>"],
    inversions_page: [HOSTILE, HOSTILE_MODEL, HOSTILE_CLASS, HOSTILE_VALUE, "own_<net>"],
    comparison_page: [HOSTILE, "<img src=x onerror=alert(2)>", HOSTILE_CLASS, HOSTILE_VALUE],
    edit_page: [HOSTILE, HOSTILE_ID, HOSTILE_VALUE],
    concept_page: [HOSTILE, HOSTILE_MODEL, HOSTILE_CLASS, HOSTILE_VALUE],
    atlas_index: ["Concept 1"],
    ablation_page: [HOSTILE_MODEL, HOSTILE_CLASS, HOSTILE_VALUE],
    difference_page: [HOSTILE, HOSTILE_MODEL, HOSTILE_CLASS, HOSTILE_VALUE],
    retrieval_page: [HOSTILE_MODEL, HOSTILE_CLASS, HOSTILE_VALUE],
}
OURS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section",
    "article", "nav", "h1", "h2", "h3", "h4", "p", "a", "b", "i", "small", "strong", "cite",
    "code", "pre", "span", "div", "dl", "dt", "dd", "ul", "li", "table", "thead", "tbody", "tr",
    "th", "td", "figure", "figcaption", "picture", "source", "img", "details", "summary", "form",
    "label", "select", "option", "optgroup", "input", "output", "button", "noscript", "script",
    "svg", "g", "line", "rect", "circle", "text", "polyline", "polygon",
}  # fmt: skip


class Found(HTMLParser):
    """Elements of a page that none of its templates has, attributes that run, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.foreign += [] if tag in OURS else [tag]
        for name, value in attrs:
            where = (value or "").lower()
            safe = name not in ("src", "href", "srcset") or where.startswith(
                ("#", "https://arxiv.org/", "page/", "results/", "maps/", "concept_", "index.html",
                 "grid.png", "coverage.csv", "units.csv", "precision.csv", "results.csv",
                 "results.json", "pictures/", "atlas/", "matches.csv", "comparison.csv",
                 "images.csv", "runs/")
            )  # fmt: skip
            if name.startswith("on") or not safe:
                self.foreign.append(f"{name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module", params=PAGES, ids=lambda make: make.__name__)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("run with spaces & signs #1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors: threads would wait for each other
    path = request.param(folder)
    torch.set_num_threads(threads)
    return request.param, path


def test_names_make_no_elements(made: Made) -> None:
    make, path = made
    found = Found(path.read_text(encoding="utf-8"))
    assert found.foreign == []
    assert found.scripts == SCRIPTS.get(make, 1)
    for name in SHOWN[make]:
        assert name in found.text or json.dumps(name)[1:-1] in found.text, name


def test_the_check_notices_what_is_not_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "TEMPLATES", document.TEMPLATES.overlay(autoescape=False))
    for make in (dictionary_page, inversions_page, edit_page):
        folder = tmp_path / make.__name__
        folder.mkdir()
        assert Found(make(folder).read_text(encoding="utf-8")).foreign


def test_names_run_nothing(made: Made, driver: webdriver.Chrome) -> None:
    driver.get("about:blank")
    driver.get_log("browser")  # empties it
    driver.get(made[1].as_uri())
    assert all(min(size) > 0 for size in load_images(driver))
    assert driver.get_log("browser") == []  # nothing refused by the page's policy either
    assert (
        driver.execute_script("return document.querySelector('iframe, [onload], [onerror]')")
        is None
    )
    # Were one to slip through, the policy would stop it.
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = true';"
        "document.body.append(s);"
        "const d = document.createElement('div'); d.innerHTML = '<b onclick=\"hacked = 1\">x</b>';"
        "document.body.append(d); d.firstChild.click()"
    )
    assert driver.execute_script("return window.hacked") is None
