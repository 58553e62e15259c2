"""What every page can do, in headless Chromium: land on links, explain, show large, save."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from page_fixtures import scenes, synthetic
from PIL import Image
from sample_pages import PAGES, edit_page
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rosetta_lab.mine.page.index import write_page

SIZES = [(400, "light"), (1280, "dark")]  # in turn


def show(driver: webdriver.Chrome, path: Path, fragment: str = "", width: int = 1280) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    driver.get("about:blank")
    driver.get_log("browser")  # empties it
    driver.get(path.as_uri() + fragment)


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty concepts, which no window holds at once."""
    found, examples = synthetic(*scenes(), neurons=100, scale=8)
    return write_page(found, examples, tmp_path_factory.mktemp("many"))


def tops(driver: webdriver.Chrome, name: str) -> list[float]:
    """Where an element stands below the tools, from frame to frame."""
    script = """
    const done = arguments[arguments.length - 1], found = [];
    const tools = document.getElementById("tools").offsetHeight;
    const look = () => {
      found.push(document.getElementById(arguments[0]).getBoundingClientRect().top - tools);
      found.length < 40 ? requestAnimationFrame(look) : done(found);
    };
    look();"""
    return [float(top) for top in driver.execute_async_script(script, name)]


@pytest.mark.parametrize("width", [400, 1280, 2560])
def test_links_land_where_they_lead(driver: webdriver.Chrome, dictionary: Path, width: int) -> None:
    show(driver, dictionary, "#concept-17", width)
    offset = 12 if width > 719 else 12 - driver.execute_script(
        "return document.getElementById('tools').offsetHeight"  # which scroll away there
    )  # fmt: skip
    assert tops(driver, "concept-17")[-1] == pytest.approx(offset, abs=2)
    driver.find_element(By.CSS_SELECTOR, "#tiles a[href='#concept-5']").send_keys(Keys.ENTER)
    assert tops(driver, "concept-5")[-1] == pytest.approx(offset, abs=2)
    driver.execute_script("location.hash = 'concept-30'")
    assert tops(driver, "concept-30")[-1] == pytest.approx(offset, abs=2)
    driver.execute_script("scrollTo(0, 0)")  # a reader moves on, and is left alone
    assert driver.execute_script("return scrollY") == 0


def sides(driver: webdriver.Chrome) -> list[str]:
    return [figure.text for figure in driver.find_elements(By.CSS_SELECTOR, ".zoom figure")]


def test_a_click_shows_a_column_side_by_side(driver: webdriver.Chrome, dictionary: Path) -> None:
    show(driver, dictionary)
    strip = driver.find_element(By.CSS_SELECTOR, "#neuron-0 .row[data-m='1'] .strip")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", strip)
    box = strip.rect
    ActionChains(driver).move_to_element_with_offset(
        strip, round(box["width"] * (2.5 / 6 - 0.5)), 0
    ).click().perform()
    dialog = driver.find_element(By.CSS_SELECTOR, "dialog.zoom")
    assert dialog.is_displayed()
    found = sides(driver)
    assert len(found) == 5  # the image, the generator's unit and three models'
    assert "map of 8 \u00d7 8 cells" in found[2] and found[2].startswith("resnet · layer")
    shift = "return document.querySelector('.cut').style.getPropertyValue('--x')"
    assert driver.execute_script(shift) == "2"
    cut = driver.execute_script(
        "const c = document.querySelectorAll('.cut')[2], i = c.querySelector('img');"
        "const [a, b] = [c.getBoundingClientRect(), i.getBoundingClientRect()];"
        "return [(a.left - b.left) / b.width, (a.top - b.top) / b.height, b.width / a.width]"
    )
    assert cut == pytest.approx([2 / 6, 2 / 5, 6], abs=0.01)  # this column, this row
    ActionChains(driver).send_keys(Keys.ARROW_RIGHT).perform()
    assert driver.execute_script(shift) == "3"
    for _ in range(3):
        ActionChains(driver).send_keys(Keys.ARROW_RIGHT).perform()
    title = driver.find_element(By.ID, "zoom-title").text
    assert driver.execute_script(shift) == "0" and not title.startswith("Neuron 0:")
    ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    assert not dialog.is_displayed()


def test_the_keyboard_does_the_same(driver: webdriver.Chrome, dictionary: Path) -> None:
    show(driver, dictionary)
    driver.find_element(By.CSS_SELECTOR, "#neuron-0 .strip").send_keys(Keys.ARROW_DOWN)
    active = driver.switch_to.active_element
    active.send_keys(Keys.ARROW_DOWN)
    tip = driver.find_element(By.ID, "tip")
    assert tip.is_displayed() and "map of 8 \u00d7 8 cells" in tip.text and "r 0." in tip.text
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(sides(driver)) == 5


def test_cards_show_their_pictures_and_all_figures(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    show(driver, edit_page(tmp_path))
    driver.find_element(By.CSS_SELECTOR, ".card .view img").click()
    found = sides(driver)
    assert len(found) == 5 and sum("share of the way" in side for side in found) == 3
    assert driver.get_log("browser") == []


def test_terms_are_explained_where_they_stand(driver: webdriver.Chrome, dictionary: Path) -> None:
    show(driver, dictionary, width=400)
    term = driver.find_element(By.XPATH, "//span[@class='term'][.='Score']")
    driver.execute_script("arguments[0].focus()", term)
    tip = driver.find_element(By.ID, "tip")
    assert tip.text == "Mean over the models of r of the best match."
    assert term.get_attribute("aria-describedby") == "tip"
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_names_are_kept_and_found(driver: webdriver.Chrome, dictionary: Path) -> None:
    show(driver, dictionary)
    driver.find_element(By.CSS_SELECTOR, "#concept-3 .rename").click()
    field = driver.switch_to.active_element
    field.send_keys("<b>a handle", Keys.ENTER)
    show(driver, dictionary)
    assert driver.find_element(By.CSS_SELECTOR, "#concept-3 .name").text == "<b>a handle"
    driver.find_element(By.NAME, "q").send_keys("HANDLE")
    shown = driver.execute_script(
        "return [...document.querySelectorAll('.concept:not([hidden])')].map((e) => e.id)"
    )
    assert shown == ["concept-3"]


def saved(folder: Path, kind: str) -> Path:
    for _ in range(200):
        if found := list(folder.glob(f"*.{kind}")):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no {kind} in {list(folder.iterdir())}")


def test_tables_and_charts_are_saved(
    driver: webdriver.Chrome, dictionary: Path, tmp_path: Path
) -> None:
    show(driver, dictionary)
    how = {"behavior": "allow", "downloadPath": str(tmp_path)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", how)
    press = "document.querySelector(arguments[0]).closest('.wide').nextElementSibling.click()"
    driver.execute_script(press, "table")
    with saved(tmp_path, "csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[0][:2] == ["Model", "Layers"] and rows[2][0] == "resnet"
    driver.execute_script(press, ".plots svg")
    with Image.open(saved(tmp_path, "png")) as picture:
        size = driver.execute_script(
            "const s = document.querySelector('.plots svg');"
            "return [s.width.baseVal.value, s.height.baseVal.value]"
        )
        assert picture.size == (3 * size[0], 3 * size[1])
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 3  # axes, bars, ground


@pytest.mark.parametrize("make", PAGES, ids=lambda make: make.__name__)
def test_axe_finds_nothing_serious(
    driver: webdriver.Chrome, make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path)
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    width, scheme = SIZES[PAGES.index(make) % 2]
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    show(driver, path, width=width)
    driver.execute_script(axe)
    found: dict[str, Any] = driver.execute_async_script(
        "axe.run(document, {resultTypes: ['violations'], runOnly: arguments[0]})"
        ".then(arguments[arguments.length - 1])",
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    )
    assert found["passes"]
    serious = [
        (broken["id"], node["html"][:200], node["failureSummary"])
        for broken in found["violations"]
        if broken["impact"] in ("serious", "critical")
        for node in broken["nodes"]
    ]
    assert serious == []
