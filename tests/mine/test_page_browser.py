"""The dictionary page in a real browser: headless Chromium, opened from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from page_fixtures import HOSTILE, scenes, synthetic
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from static_pages import CONTRAST, load_images

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.page.index import write_page


class Page:
    """The page in the browser."""

    def __init__(self, driver: webdriver.Chrome, path: Path, dictionary: RosettaDictionary) -> None:
        self.driver, self.dictionary = driver, dictionary
        self.address = path.as_uri()

    def open(self, fragment: str = "", width: int = 1280) -> Page:
        """Load the page anew."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.get("about:blank")
        self.driver.get_log("browser")  # empties it
        self.driver.get_log("performance")
        self.driver.get(self.address + fragment)
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def shown(self, selector: str) -> list[str]:
        """Ids of the elements that no filter hides, in the page's order."""
        return list(
            self.js(
                "return [...document.querySelectorAll(arguments[0])]"
                ".filter((e) => !e.closest('[hidden]')).map((e) => e.id)",
                selector,
            )
        )

    def concepts(self) -> list[int]:
        return [int(name.removeprefix("concept-")) for name in self.shown(".concept")]

    def neurons(self) -> set[int]:
        return {int(name.removeprefix("neuron-")) for name in self.shown(".neuron")}

    def choose(self, name: str, text: str) -> None:
        Select(self.driver.find_element(By.NAME, name)).select_by_visible_text(text)

    def slide(self, value: float) -> None:
        self.js(
            "const s = document.querySelector('[name=min]'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input', {bubbles: true}))",
            value,
        )

    def search(self, text: str) -> None:
        field = self.driver.find_element(By.NAME, "q")
        field.clear()
        field.send_keys(text)

    def top(self, name: str) -> float:
        """How far below the window's upper edge an element starts, in pixels."""
        script = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
        return float(self.js(script, name))


@pytest.fixture(scope="module")
def page(driver: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("run with spaces & signs #1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors: threads would wait for each other
    dictionary, examples = synthetic(*scenes())
    path = write_page(dictionary, examples, folder)
    torch.set_num_threads(threads)
    return Page(driver, path, dictionary)


def test_every_image_loads_and_nothing_comes_from_elsewhere(page: Page) -> None:
    page.open()
    sizes = load_images(page.driver)
    dictionary = page.dictionary
    rows = 2 + len(dictionary.discriminative)
    assert len(sizes) == len(dictionary.concepts) + rows * len(dictionary.neurons)
    assert all(min(size) > 0 for size in sizes)
    assert page.driver.get_log("browser") == []
    messages = [
        json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")
    ]
    asked = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]
    folder = page.address.rpartition("/")[0]
    assert len(set(asked)) == 1 + len(dictionary.neurons)
    assert all(address.startswith(folder) for address in asked)


def test_rows_of_a_neuron_show_the_rows_of_its_picture(page: Page) -> None:
    page.open()
    rows = 2 + len(page.dictionary.discriminative)
    shown = page.js(
        "return [...document.querySelector('#neuron-0').querySelectorAll('img')].map((image) => {"
        "const style = getComputedStyle(image); const box = image.getBoundingClientRect();"
        "return [style.objectPosition, style.objectFit, box.width / box.height]; })"
    )
    assert [position for position, _, _ in shown] == [
        f"0px {100 * row / (rows - 1):.4g}%" for row in range(rows)
    ]
    for _, fit, ratio in shown:
        assert fit == "cover"
        assert ratio == pytest.approx(6 * 128 / 77, rel=0.01)  # six 48 x 80 images side by side


def test_hostile_names_run_nothing(page: Page) -> None:
    page.open()
    assert page.js("return document.scripts.length") == 3
    assert page.js("return [...document.images].every((i) => i.src.includes('/page/neuron-'))")
    assert HOSTILE in page.driver.find_element(By.ID, "list").text
    # Were one to slip through, the page's policy would still stop it.
    page.js(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = true';"
        "document.body.append(s);"
        "const d = document.createElement('div'); d.innerHTML = '<b onclick=\"hacked = 1\">x</b>';"
        "document.body.append(d); d.firstChild.click()"
    )
    assert page.js("return window.hacked") is None


def test_sorting_reorders_sections_and_tiles(page: Page) -> None:
    page.open()
    dictionary = page.dictionary
    by_score = [concept.id for concept in dictionary.concepts]
    assert page.concepts() == by_score

    page.choose("sort", "size of the concept")
    by_size = sorted(by_score, key=lambda c: -len(dictionary.concepts[c].neurons))
    assert page.concepts() == by_size != by_score
    tiles = page.js("return [...document.querySelectorAll('#tiles a')].map((a) => a.hash)")
    assert tiles == [f"#concept-{concept}" for concept in by_size]

    page.choose("sort", "reference layer")
    layers = [layer.name for layer in dictionary.reference.layers]

    def layer(concept: int) -> int:
        best = dictionary.concepts[concept].representative
        return layers.index(dictionary.neurons[best].unit.layer)

    by_layer = sorted(by_score, key=layer)
    assert page.concepts() == by_layer
    assert by_layer not in (by_score, by_size)


def test_minimum_score_hides_neurons_and_concepts(page: Page) -> None:
    page.open()
    neurons = page.dictionary.neurons
    page.slide(0.6)
    expected = {number for number, neuron in enumerate(neurons) if neuron.score >= 0.6}
    assert 0 < len(expected) < len(neurons)
    assert page.neurons() == expected
    assert page.concepts() == sorted({neurons[number].concept for number in expected})
    status = page.driver.find_element(By.ID, "status").text.replace("\u00a0", " ")
    concepts = len(page.dictionary.concepts)
    assert status == f"{len(page.concepts())} of {concepts} concepts, {len(expected)} of 12 neurons"


def test_model_filter_shows_its_rows_and_uses_its_r(page: Page) -> None:
    page.open()
    dictionary = page.dictionary
    page.choose("model", "resnet")
    page.slide(0.6)
    r = [neuron.matches["resnet"][0].r for neuron in dictionary.neurons]
    assert page.neurons() == {number for number, value in enumerate(r) if value >= 0.6}
    best = {c.id: max(r[n] for n in c.neurons) for c in dictionary.concepts}
    order = sorted((c for c in best if best[c] >= 0.6), key=lambda c: -best[c])
    assert page.concepts() == order != sorted(order)
    first = page.driver.find_element(By.CSS_SELECTOR, ".neuron:not([hidden])")
    rows = [row.is_displayed() for row in first.find_elements(By.CLASS_NAME, "row")]
    assert rows == [True, True, True, False, False]  # images, generator, resnet


@pytest.mark.parametrize("model", ["generator", "vit_with_a_rather_long_name"])
def test_layer_filter(page: Page, model: str) -> None:
    page.open()
    layer = HOSTILE if model == "generator" else "blocks.2.mlp.act"
    expected = {
        number
        for number, neuron in enumerate(page.dictionary.neurons)
        if layer
        in (
            [neuron.unit.layer]
            if model == "generator"
            else [match.layer for match in neuron.matches[model]]
        )
    }
    assert 0 < len(expected) < 12
    page.choose("layer", f"{layer} ({len(expected)})")
    assert page.neurons() == expected


def test_search_finds_one_unit_by_layer_and_channel(page: Page) -> None:
    page.open()
    dictionary = page.dictionary
    unit = dictionary.neurons[7].unit
    page.search(f"{unit.layer} {unit.channel}")
    assert page.neurons() == {7}
    page.search("no such layer")
    assert page.neurons() == set()
    assert page.concepts() == []
    page.search("BLOCKS.3")
    assert page.neurons() == {
        number
        for number, neuron in enumerate(dictionary.neurons)
        if any("blocks.3" in m.layer for ms in neuron.matches.values() for m in ms)
    }
    page.driver.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    assert len(page.neurons()) == 12


def test_found_neurons_are_unfolded_and_folded_again(page: Page) -> None:
    page.open()
    concept = max(page.dictionary.concepts, key=lambda c: len(c.neurons))
    hidden = concept.neurons[-1]
    article = page.driver.find_element(By.ID, f"neuron-{hidden}")
    assert not article.is_displayed()
    unit = page.dictionary.neurons[hidden].unit
    page.search(f"generator_fashion {unit.layer} {unit.channel}")
    assert article.is_displayed()
    more = page.driver.find_element(By.CSS_SELECTOR, f"#concept-{concept.id} .more")
    assert more.text == "1 neuron"
    page.driver.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    assert not article.is_displayed()
    assert more.text == f"{len(concept.neurons) - 1} more neurons"


def test_links_lead_to_concepts_and_neurons(page: Page) -> None:
    last = page.dictionary.concepts[-1].id
    page.open(f"#concept-{last}")
    tools = page.js("return document.getElementById('tools').offsetHeight")
    assert tools <= page.top(f"concept-{last}") < 900  # the page may end before it gets to the top
    for concept in (1, 2, 1):  # from elsewhere, and back
        page.open(f"#concept-{concept}")
        assert page.top(f"concept-{concept}") == pytest.approx(tools + 12, abs=2)

    concept = max(page.dictionary.concepts, key=lambda c: len(c.neurons))
    folded = concept.neurons[1]
    page.slide(1.0)
    assert page.neurons() == set()
    page.js(f"location.hash = 'neuron-{folded}'")
    WebDriverWait(page.driver, 10).until(lambda _: len(page.neurons()) == 12)
    assert page.driver.find_element(By.ID, f"neuron-{folded}").is_displayed()
    assert 0 <= page.top(f"neuron-{folded}") < 900


def test_choices_survive_reloading(page: Page) -> None:
    page.open()
    page.choose("sort", "size of the concept")
    page.choose("model", "resnet")
    page.slide(0.5)
    before = page.concepts(), page.neurons()
    address = page.driver.current_url
    assert address == page.address + "#sort=size&model=1&min=0.5"
    page.open(address.removeprefix(page.address))
    assert (page.concepts(), page.neurons()) == before
    page.open("#sort=nonsense&model=99&min=oops")
    assert len(page.neurons()) == 12
    assert page.driver.get_log("browser") == []


def test_keyboard_alone_reaches_and_opens_everything(page: Page) -> None:
    page.open()
    names = []
    for _ in range(120):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = page.driver.switch_to.active_element
        names.append(active.get_attribute("name") or active.tag_name)
        if active.tag_name == "summary":
            break
    assert {"sort", "model", "layer", "min", "q", "button", "a"} <= set(names)
    assert names[-1] == "summary"
    active.send_keys(Keys.ENTER)
    assert page.js("return document.activeElement.parentElement.open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280, 2560])
def test_nothing_sticks_out_and_text_is_readable(page: Page, width: int, scheme: str) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    page.open(width=width)
    page.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    contrast = page.js(CONTRAST)
    assert min(contrast) >= 4.5  # WCAG AA
    background = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 21, 23)") == (scheme == "dark")
