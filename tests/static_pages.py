"""What holds for every static page: it loads whole, from disk alone, and reads well."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from selenium import webdriver

SIZES = [(400, "light"), (1280, "dark")]
_LOAD = """
const done = arguments[arguments.length - 1];
(async () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const sizes = [];
  for (const image of document.images) {
    image.scrollIntoView();
    for (let i = 0; i < 500 && !(image.complete && image.naturalWidth); i++) {
      await new Promise((next) => setTimeout(next, 20));
    }
    sizes.push([image.naturalWidth, image.clientWidth, image.clientHeight]);
  }
  done(sizes);
})();
"""
CONTRAST = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => {
    c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const page = light(getComputedStyle(document.body).backgroundColor);
const texts = "p, dt, dd, th, td, figcaption, code, a, small, summary, .captions span";
return [...document.querySelectorAll(texts)]
  .map((element) => light(getComputedStyle(element).color))
  .map((text) => (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05));
"""

# What a reader by keyboard, by ear or on a narrow screen would miss.
FAULTS = """
const every = (selector) => [...document.querySelectorAll(selector)];
const regions = every(".wide").map((region) => region.getAttribute("aria-label"));
const said = regions.filter((name, place) => regions.indexOf(name) < place)
  .map((name) => `two tables or charts: ${name}`);
let above = 0;
for (const heading of every("h1, h2, h3, h4")) {
  const level = Number(heading.tagName[1]);
  if (level > above + 1) said.push(`h${level} below h${above}: ${heading.textContent}`);
  above = level;
}
for (const group of every("[data-group], .card")) {
  if (group.querySelector(".strip, img") && !group.querySelector("[role=button][tabindex='0']")) {
    said.push(`no way to the pictures of ${group.textContent}`);
  }
}
for (const table of every(".wide table")) {
  if (innerWidth < 500 && table.scrollWidth > table.parentElement.clientWidth + 1) {
    said.push(`wider than the screen: ${table.parentElement.getAttribute("aria-label")}`);
  }
}
return said;
"""


def load_images(driver: webdriver.Chrome) -> list[list[int]]:
    """Unfold everything and scroll to every image: its own width, its shown width and height."""
    sizes: list[list[int]] = driver.execute_async_script(_LOAD)
    return sizes


def check_page(driver: webdriver.Chrome, path: Path, folder: Path, images: int) -> None:
    """Open a page in a narrow light and a wide dark window.

    Args:
        driver: the browser.
        path: of the page.
        folder: where everything that the page loads must lie.
        images: how many the page has.
    """
    for width, scheme in SIZES:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        driver.get("about:blank")
        driver.get_log("browser")  # empties it
        driver.get_log("performance")
        driver.get(path.as_uri())
        sizes = load_images(driver)
        assert len(sizes) == images
        assert all(min(size) > 0 for size in sizes)
        assert driver.get_log("browser") == []
        asked = [
            message["params"]["request"]["url"]
            for entry in driver.get_log("performance")
            if (message := json.loads(entry["message"])["message"])["method"]
            == "Network.requestWillBeSent"
        ]
        assert asked and all(address.startswith(folder.as_uri()) for address in asked)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert min(driver.execute_script(CONTRAST)) >= 4.5  # WCAG AA
        assert driver.execute_script(FAULTS) == []
        background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(20, 21, 23)") == (scheme == "dark")


def check_links(driver: webdriver.Chrome) -> None:
    """Every link of the open page leads to a file that is there."""
    links = driver.execute_script("return [...document.links].map((link) => link.href)")
    for link in links:
        if link.startswith("file:"):
            assert Path(unquote(urlsplit(link).path)).is_file(), link
