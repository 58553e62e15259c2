"""The documentation: every link leads somewhere, every option is told, and nothing is fetched."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import hydra
import nbformat
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from nbclient import NotebookClient
from omegaconf import OmegaConf
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from rosetta_lab.run import configs, loggers  # noqa: F401  what configs call
from rosetta_lab.run.command_line import (
    check_groups,
    check_keys,
    check_words,
    left_out,
    with_keys,
)

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONF = ROOT / "conf"
COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml"))
NOTEBOOKS = sorted(path.stem for path in DOCS.glob("notebooks/*.ipynb"))
# What configs choose by name, whose keys are those of the chosen file; and what runs them.
GROUPS = {
    "data",
    "disc",
    "edit",
    "gen",
    "judge",
    "judges",
    "logger",
    "model",
    "perceptual",
    "text",
    "trainer",
}
MACHINERY = {"datamodule", "module"}
QUIET = {"NO_MKDOCS_2_WARNING": "1"}
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("link", "href"),
}


@cache
def hook(name: str) -> ModuleType:
    """A module of docs/hooks, which MkDocs finds by its file, too."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(values: object, before: str = "") -> dict[str, object]:
    """What a config holds, by keys with dots, uninterpolated."""
    if not isinstance(values, dict) or not values:
        return {before: values}
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= leaves(value, f"{before}.{key}" if before else str(key))
    return found


def composed(command: str) -> dict[str, object]:
    """The values of a command's config as Hydra composes it, but for what is chosen by name."""
    GlobalHydra.instance().clear()
    words = ["model=stylegan2_fashion"] if command == "zoo_train" else []
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose(command, words)
    GlobalHydra.instance().clear()
    whole = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(whole, dict)
    return leaves({key: value for key, value in whole.items() if key not in GROUPS | MACHINERY})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_told(command: str) -> None:
    file = CONF / f"{command}.yaml"
    told = hook("options").explained(file)
    values: dict[str, object] = {}
    for option in told:
        if option.value and not option.group and option.key.split(".")[0] not in GROUPS:
            values |= leaves(yaml.safe_load(option.value), option.key)
    assert values == composed(command)
    page = hook("options").command_page(file)
    for option in told:
        assert option.comment, f"conf/{command}.yaml: what is {option.key}?"
        assert f"| `{option.key}=` |" in page


LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]*\]: (\S+)", re.MULTILINE)
REFERENCE = re.compile(r"\]\[(rosetta_lab[\w.]*)\]")
CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def source(target: Path) -> Path:
    """What a page of the site is made of."""
    name = target.relative_to(DOCS)
    match name.parts[0]:
        case "experiments":
            return ROOT / name
        case "options" if name.stem not in ("index", "groups"):
            return CONF / f"{name.stem}.yaml"
        case "options" | "gallery.md":
            return DOCS / "hooks" / f"{name.parts[0].removesuffix('.md')}.py"
        case "notebooks":
            return target.with_suffix(".ipynb")
    return target


@pytest.mark.parametrize("page", [str(p.relative_to(DOCS)) for p in sorted(DOCS.rglob("*.md"))])
def test_links_of_a_page(page: str) -> None:
    text = CODE.sub("", (DOCS / page).read_text(encoding="utf-8"))
    for found in LINK.findall(text):
        place = urlsplit(next(filter(None, found)))
        if not place.scheme and place.path:
            target = ((DOCS / page).parent / place.path).resolve()
            assert source(target).is_file(), place.path
    for name in REFERENCE.findall(text):
        module, _, last = name.rpartition(".")
        try:
            assert hasattr(import_module(module), last), name
        except ModuleNotFoundError:
            import_module(name)


BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
TYPED = re.compile(r"^(?:rosetta-lab |python -m rosetta_lab\.)(.+?)(?: +#.*)?$", re.MULTILINE)
WORDS = {
    "export": ("dictionary", "out"),
    "push": ("dictionary", "repository"),
    "pull": ("repository", "out"),
}
PRINTED = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted(DOCS.rglob("*.md")))]


@pytest.mark.parametrize(
    "page",
    [PRINTED[0], *(pytest.param(page, marks=pytest.mark.slow) for page in PRINTED[1:])],
)
def test_commands_of_a_page_have_the_keys_that_they_name(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", "")
    for block in BLOCK.findall(text):
        for line in TYPED.findall(block):
            name, *words = shlex.split(re.sub(r"<\w+>", "x", line))
            if words and words[0] in ("mining", "invert", "edit"):  # of bench and plan
                name = words.pop(0) if name == "plan" else f"{name}_{words.pop(0)}"
            words = left_out(with_keys(words, WORDS.get(name, ())), ["gen"])
            # A folder of the reader's, as image_folders() takes it where there is one.
            words = [word.replace("data=my_photos/", "images=my_photos/") for word in words]
            words = [word for word in words if not word.startswith("--config-dir")]
            check_words(words)
            if "disc=[resnext50]" not in words:  # which the page has the reader write
                check_groups(words)
                check_keys(name.replace(".", "_"), words)


def test_every_picture_is_in_the_gallery_with_a_command() -> None:
    shown = hook("gallery").shown()
    assert {one.picture for one in shown} == {p.name for p in (ROOT / "experiments").glob("*.png")}
    for one in shown:
        room = re.match(r"python -m rosetta_lab\.([\w.]+)", one.command)
        assert room and importlib.util.find_spec(f"rosetta_lab.{room[1]}")


def test_equations_are_mathml() -> None:
    page = (
        '<span class="arithmatex">\\(a &lt; b^2\\)</span>'
        '<div class="arithmatex">\\[\n\\sum_i x\n\\]</div>'
    )
    made = hook("equations").on_page_content(page)
    assert made.count("<math ") == 2 and "<msup><mi>b</mi><mn>2</mn></msup>" in made
    assert 'display="block"' in made and "\\" not in made


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_no_outputs_and_is_a_page(name: str) -> None:
    file = DOCS / "notebooks" / f"{name}.ipynb"
    cells = nbformat.read(file, 4).cells
    page = hook("notebooks").page(file)
    for cell in cells:
        assert cell.source in page
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    notebook = nbformat.read(DOCS / "notebooks" / f"{name}.ipynb", 4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    kinds = [
        kind
        for cell in notebook.cells
        for out in cell.get("outputs", [])
        for kind in out.get("data", ())
    ]
    assert kinds.count("image/png") == sum(".show(" in cell.source for cell in notebook.cells)


class Page(HTMLParser):
    """The anchors of a built page, where its links lead, and what it makes a browser fetch."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.fetched = set[str](), list[str](), list[str]()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See :class:`HTMLParser`."""
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.fetched += [given[key] for what, key in FETCHED if what == tag and key in given]
        assert "mermaid" not in given.get("class", "")  # which Material would fetch


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_fetches_nothing_and_its_links_lead_somewhere(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(pages) > 40
    for file, page in pages.items():
        for link in page.fetched:
            assert not urlsplit(link).netloc, f"{file.name} fetches {link}"
        for link in [*page.links, *page.fetched]:
            place = urlsplit(link)
            if not place.scheme and not place.netloc and link:
                target = (file.parent / unquote(place.path)).resolve() if place.path else file
                target = target / "index.html" if target.is_dir() else target
                assert target.is_file(), f"{file.name}: {link}"
                if place.fragment and target in pages and not place.fragment.startswith("__"):
                    assert unquote(place.fragment) in pages[target].anchors, f"{file.name}: {link}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text("utf-8"))


@pytest.mark.slow
def test_search_works_from_a_disk_and_asks_nobody(site: Path, driver: WebDriver) -> None:
    driver.get("about:blank")
    driver.get_log("browser")  # empties it
    driver.get_log("performance")
    driver.get((site / "api" / "index.html").as_uri())
    driver.find_element(By.CSS_SELECTOR, "label.md-header__button[for=__search]").click()
    driver.find_element(By.CSS_SELECTOR, "input.md-search__input").send_keys("jackknife")
    found = "a.md-search-result__link"
    WebDriverWait(driver, 60).until(lambda b: b.find_elements(By.CSS_SELECTOR, found))
    links = [e.get_attribute("href") or "" for e in driver.find_elements(By.CSS_SELECTOR, found)]
    assert any("method.html" in link or "functional.html" in link for link in links), links
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked and not [
        url for url in asked if not url.startswith((site.as_uri(), "data:", "about:"))
    ]
    severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not severe
