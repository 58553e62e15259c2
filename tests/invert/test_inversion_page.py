"""Pages of inversions and comparisons, as files and in headless Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inversion_fixtures import HOSTILE_ID, config, write_results, write_run
from page_fixtures import scenes, synthetic
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from static_pages import load_images

from rosetta_lab.compare.report import compare_runs
from rosetta_lab.invert.page.differences import write_difference
from rosetta_lab.invert.page.index import write_inversions
from rosetta_lab.pages.colormap import colourise

IDS = [HOSTILE_ID, *(f"{place:05d}_coat" for place in range(1, 30))]
PSNR = [20.0 + 7 * place % 30 for place in range(30)]


def figures(place: int) -> dict[str, float]:
    return {"psnr": PSNR[place], "ssim": 0.5, "published": 0.1 + 0.01 * (11 * place % 30)}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run with spaces & signs #1")
    torch.set_num_threads(1)  # small tensors: threads would wait for each other
    results = write_results(folder, IDS, figures)
    dictionary, _ = synthetic(*scenes())
    dictionary.config["gen"]["class_names"] = ["<i>top</i>", "coat", "boot"]
    return write_inversions(folder, results, list(results.records(IDS)), config(), dictionary)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep %41 #2")
    for number, matches in enumerate(("none", "all")):

        def shifted(place: int, up: int = number) -> dict[str, float]:
            return {"psnr": 20.0 + place % 7 + up * (place - 3), "lpips": 0.5 - 0.01 * up * place}

        write_run(folder / str(number), IDS[:8], shifted, [f"matches={matches}"], matches=matches)
    compare_runs(folder, [folder], resamples=100)
    return folder / "index.html"


@pytest.fixture(scope="module")
def two_starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight runs, four from each start; one of them tuned the generator afterwards."""
    folder = tmp_path_factory.mktemp("starts")
    for number in range(8):
        start, matches = (
            ("mean", "random")[number // 4],
            ("none", "dino", "clip", "all")[number % 4],
        )

        def found(place: int, number: int = number) -> dict[str, float]:
            figures = {"psnr": 20.0 + place + number}
            if number == 7:
                figures["tuned_psnr"] = 40.0
            if place != 2 or number != 3:
                figures["hue_error"] = 5.0 * place - number
            return figures

        words = [f"start={start}", f"matches={matches}"]
        run = write_run(folder / str(number), IDS[:5], found, words, matches=matches, start=start)
        if number == 7:
            for name in IDS[:5]:
                Image.new("RGB", (16, 16)).save(run / "results" / name / "tuned.png")
    compare_runs(folder, [folder], resamples=100)
    return folder / "index.html"


class View:
    """A page in the browser."""

    def __init__(self, driver: webdriver.Chrome, path: Path, width: int = 1280) -> None:
        self.driver = driver
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        driver.get("about:blank")
        driver.get_log("browser")  # empties it
        driver.get(path.as_uri())

    def js(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def choose(self, **menus: str) -> None:
        for name, text in menus.items():
            Select(self.driver.find_element(By.NAME, name)).select_by_visible_text(text)

    def cards(self) -> list[str]:
        return list(
            self.js("return [...document.querySelectorAll('.card')].map(c => c.dataset.id)")
        )

    def status(self) -> str:
        return self.driver.find_element(By.ID, "status").text.replace("\u00a0", " ")


def test_difference_maps_use_the_colour_map_and_are_made_once(tmp_path: Path) -> None:
    target, inverted, path = (tmp_path / f"{name}.png" for name in "tid")
    pixels = np.zeros((2, 2, 3), np.uint8)
    Image.fromarray(pixels).save(target)
    pixels[0, 1], pixels[1, 0] = (255, 255, 255), (96, 0, 0)
    Image.fromarray(pixels).save(inverted)
    write_difference(target, inverted, path)
    drawn = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
    shares = torch.tensor([[0.0, 1.0], [96 / 3 / 255 / 0.5, 0.0]])  # white differs by more than 0.5
    assert torch.allclose(drawn.float(), 255 * colourise(shares), atol=4)
    before = path.stat().st_mtime_ns
    write_difference(target, inverted, path)
    assert path.stat().st_mtime_ns == before


def test_the_page_is_written_for_five_thousand_images(page: Path, tmp_path: Path) -> None:
    """What grows with the number of images is one short line each."""
    text = page.read_text()
    data = text.split('id="data">')[1].split("</script>")[0]
    assert len(data) / len(IDS) < 120
    items = json.loads(data)["items"]
    assert [item[0] for item in items] == IDS
    assert [item[2][0][0] for item in items] == PSNR
    assert "Not comparable with published LPIPS" in text
    assert "own_&lt;net&gt;" in text and "<code>published</code>" not in text
    assert "<script>alert" not in text and "<i>top" not in text and "<img" not in text


def test_images_load_and_nothing_is_run(page: Path, driver: webdriver.Chrome) -> None:
    view = View(driver, page)
    sizes = load_images(driver)
    assert len(sizes) == 3 * 24  # of the first 24 images: target, inverted, difference
    assert {natural for natural, *_ in sizes} == {16} and min(shown for _, shown, _ in sizes) > 40
    assert view.cards() == IDS[:24]
    assert driver.get_log("browser") == []
    assert (
        view.js("return document.scripts.length") == 3
    )  # data, what is shared, and the page's own
    assert HOSTILE_ID in driver.find_element(By.ID, "gallery").text
    view.js(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = true';"
        "document.body.append(s)"
    )
    assert view.js("return window.hacked") is None


def test_sorting_filtering_and_paging(page: Path, driver: webdriver.Chrome) -> None:
    view = View(driver, page)
    view.choose(sort="PSNR (dB)")
    best = sorted(range(30), key=lambda place: -PSNR[place])
    assert view.cards() == [IDS[place] for place in best[:24]]
    driver.find_element(By.CSS_SELECTOR, "#pages button[value='1']").click()
    assert view.cards() == [IDS[place] for place in best[24:]]
    view.choose(order="worst first")
    assert view.cards()[:3] == [IDS[place] for place in best[::-1][:3]]
    view.choose(sort="published", order="best first")
    assert view.cards()[0] == HOSTILE_ID  # the smallest distance
    view.choose(**{"label": "coat"})
    assert sorted(view.cards()) == sorted(IDS[1::3])
    assert view.status() == "10 of 30 images"
    driver.find_element(By.NAME, "q").send_keys("00007")
    assert view.cards() == ["00007_coat"]
    address = driver.current_url
    driver.get("about:blank")
    driver.get(address)
    assert view.cards() == ["00007_coat"]  # the choices are in the address
    driver.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    view.choose(view="table")
    rows = driver.find_elements(By.CSS_SELECTOR, "#gallery tbody tr")
    assert len(rows) == 30
    assert rows[1].text.split()[:3] == ["00001_coat", "coat", "27.00"]


@pytest.mark.parametrize("which", ["page", "comparison"])
@pytest.mark.parametrize("width", [400, 2560])
def test_nothing_sticks_out(
    which: str,
    width: int,
    driver: webdriver.Chrome,
    request: pytest.FixtureRequest,
) -> None:
    view = View(driver, request.getfixturevalue(which), width)
    for kind in ("pictures", "table"):
        view.choose(view=kind)
        assert view.js("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("which", ["page", "comparison"])
@pytest.mark.parametrize("width", [400, 1280])
def test_pictures_and_figures_stand_below_each_other(
    which: str, width: int, driver: webdriver.Chrome, request: pytest.FixtureRequest
) -> None:
    view = View(driver, request.getfixturevalue(which), width)
    load_images(driver)
    gaps = view.js("""
        for (const card of document.querySelectorAll(".card")) {
          card.style.contentVisibility = "visible";
        }
        return [...document.querySelectorAll(".view > :not(:first-child)")].map((part) =>
          part.getBoundingClientRect().top - part.previousSibling.getBoundingClientRect().bottom);
    """)
    assert len(gaps) == (8 * (1 + 3 + 3) if which == "comparison" else 3 * len(view.cards()))
    assert min(gaps) >= 0 and max(gaps) < 40


def test_a_comparison_sorts_by_gain(comparison: Path, driver: webdriver.Chrome) -> None:
    view = View(driver, comparison)
    sizes = load_images(driver)
    assert len(sizes) == 8 * 5  # target; image and difference of both runs
    assert {natural for natural, *_ in sizes} == {16}
    view.choose(sort="PSNR (dB)")
    assert view.cards() == IDS[7::-1]  # the gain grows from image to image
    view.choose(**{"by": "value", "run": "none"})
    values = [20 + place % 7 for place in range(8)]
    assert view.cards() == [IDS[p] for p in sorted(range(8), key=lambda p: (-values[p], IDS[p]))]
    first = driver.find_element(By.CSS_SELECTOR, f".card[data-id='{IDS[1]}'] .view:last-child dl")
    assert first.text.split("\n")[:2] == ["PSNR (dB)", "19.00 \u22122.00"]
    assert driver.get_log("browser") == []


def test_runs_stand_beside_those_with_their_baseline(
    two_starts: Path, driver: webdriver.Chrome
) -> None:
    view = View(driver, two_starts)

    def captions() -> list[str]:
        script = "return [...document.querySelector('.card').querySelectorAll('figcaption')]"
        return list(view.js(script + ".map(c => c.textContent)"))

    first = ["none", "dino", "clip", "all"]
    expected = [f"start=mean matches={name}" for name in first]
    assert captions() == ["target", f"{expected[0]} (baseline)", *expected[1:]]
    view.choose(run="start=random matches=all", sort="PSNR (dB)")
    expected = [f"start=random matches={name}" for name in first]
    assert captions() == ["target", f"{expected[0]} (baseline)", *expected[1:]]
    figures = driver.find_element(By.CSS_SELECTOR, ".card .view:last-child dl").text
    assert "+3.00" in figures  # over its own baseline, run 4, not over run 0
    sizes = load_images(driver)
    assert len(sizes) == 5 * (1 + 4 * 2 + 1)  # and the picture of the tuned generator
    assert {natural for natural, *_ in sizes} == {16}
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("order", ["best first", "worst first"])
def test_images_without_a_figure_come_last(
    order: str, two_starts: Path, driver: webdriver.Chrome
) -> None:
    view = View(driver, two_starts)
    view.choose(run="start=mean matches=all", by="value", sort="error of hue (\u00b0)", order=order)
    rest = [HOSTILE_ID, *IDS[1:2], *IDS[3:5]]
    assert view.cards() == [*(rest if order == "best first" else rest[::-1]), IDS[2]]
