"""A dictionary as one file: self-contained, about nobody's machine, and taken everywhere."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

import rosetta_lab as rl
from rosetta_lab.dictionary.mined import load_mined_models
from rosetta_lab.dictionary.record import digest_of
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.export.private import in_page, name_of, told
from rosetta_lab.pages.document import TEMPLATES
from rosetta_lab.run.command_line import with_keys, zoo_of

STORED = Path(__file__).parents[1] / "stored"
QUIET = "trainer.enable_progress_bar=false"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of its own, in which no command writes beside what it has unpacked."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of a stored run, with notes and logs beside it."""
    folder = Path(shutil.copytree(STORED / "mined", tmp_path / "run"))
    (folder / "mine.log").write_text("/home/alice/secret")
    (folder / "csv").mkdir()
    (folder / "csv" / "metrics.csv").write_text("/home/alice/secret")
    return folder


def changed(folder: Path, change: Callable[[Any], None]) -> dict[str, Any]:
    path = folder / "dictionary.json"
    record: dict[str, Any] = json.loads(path.read_text())
    change(record)
    record["sha256"] = digest_of(record)
    path.write_text(json.dumps(record))
    return record


def exported(folder: Path, out: Path) -> dict[str, bytes]:
    """Export within the folder above; the members by name."""
    done = call("export", folder.name, str(out), cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_every_way_in_takes_it(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared.zip"
    members = exported(run, out)
    assert members.keys() == {
        f"shared/{name}"
        for name in ("dictionary.json", "best_buddies.safetensors", "statistics.safetensors")
    }
    assert rl.load(out).record == RosettaDictionary.load(run)
    assert rl.load(out).record.buddies.keys() == RosettaDictionary.load(run).buddies.keys()
    assert zoo_of(str(out)) == "embedded"
    first = out.read_bytes()
    exported(run, out)
    assert out.read_bytes() == first  # the same run, the same bytes
    mined, other = load_mined_models(out), load_mined_models(run)
    assert mined.config == other.config
    done = call("overlap", "dictionaries=[shared.zip,run]", cwd=tmp_path)
    assert done.returncode == 0 and "100%" in done.stdout


@pytest.mark.slow
def test_images_are_inverted_by_it(run: Path, tmp_path: Path) -> None:
    exported(run, tmp_path / "shared.zip")
    done = call(
        *("invert", "dictionary=shared.zip", f"images={STORED / 'photos'}", "steps=1"),
        *("hydra.run.dir=inverted", QUIET),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "inverted" / "results.csv").is_file()


@pytest.mark.slow
def test_an_atlas_goes_to_the_run_not_to_the_cache(run: Path, tmp_path: Path, cache: Path) -> None:
    exported(run, tmp_path / "shared.zip")
    rl.load(tmp_path / "shared.zip")
    before = sorted(cache.rglob("*"))
    done = call(
        *("visualize", "dictionary=shared.zip", "concept=all", "images=2", "shown=1", "steps=1"),
        *("seeds=0", "hydra.run.dir=seen", QUIET),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "seen" / "atlas" / "index.html").is_file()
    assert sorted(cache.rglob("*")) == before


def test_nothing_tells_of_the_machine(run: Path, tmp_path: Path) -> None:
    photos, net = "/srv/it's <b> & co/photos", "file:///mnt/alice/net%20one.pkl"

    def with_paths(record: Any) -> None:
        record["config"] |= {"images": photos, "other": ["~/x/y.png", "C:\\Users\\alice\\z.pt"]}
        record["generator"]["weights"]["source"] = net

    record = changed(run, with_paths)
    page = TEMPLATES.from_string(
        "{{ text }} {{ config | tojson }} {{ place }} {{ config | config }}"
    ).render(text=json.dumps(record["config"]), config=record["config"], place=photos)
    (run / "index.html").write_text(f"<p>{page}</p>")
    (run / "names.json").write_text(json.dumps({"dictionary": record["sha256"]}))
    members = exported(run, tmp_path / "shared.zip")
    for name, data in members.items():
        for secret in (b"alice", b"/srv", b"/mnt", b"co/photos", str(tmp_path).encode()):
            assert secret not in data, name
    found = json.loads(members["shared/dictionary.json"])
    assert found["config"]["images"] == "photos"
    assert found["config"]["other"] == ["y.png", "z.pt"]
    assert found["generator"]["weights"]["source"] == "net one.pkl"
    assert found["sha256"] == digest_of(found) != record["sha256"]
    assert json.loads(members["shared/names.json"]) == {"dictionary": found["sha256"]}
    del found["config"], record["config"], found["generator"], record["generator"]
    assert found == {**record, "sha256": found["sha256"]}
    assert b"photos" in members["shared/index.html"]


@pytest.mark.parametrize("secret", ["/home/alice/x", "/Users/bob", "C:\\Users\\bob\\x"])
def test_what_would_tell_is_refused(secret: str, run: Path, tmp_path: Path) -> None:
    (run / "index.html").write_text(f"<p>mined by {secret}</p>")
    done = call("export", "run", "shared.zip", cwd=tmp_path)
    assert done.returncode == 1 and "tells of this machine" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2 and not (tmp_path / "shared.zip").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a dictionary and a file"),
        (["run"], "expected a dictionary and a file"),
        (["run", "shared.tar"], "expected a dictionary and a file"),
        (["nowhere", "shared.zip"], "No dictionary at nowhere"),
        (["run", "/proc/shared.zip"], "cannot write /proc/shared.zip"),
        (["run", "shared.zip", "k=3"], "there is no key 'k'"),
        (["run", "shared.zip", "more"], "more: cannot be read"),
    ],
)
def test_mistakes(words: list[str], message: str, run: Path, tmp_path: Path) -> None:
    done = call("export", *words, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
    assert not (tmp_path / "shared.zip").exists()


def test_links_in_a_run_are_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.webp").write_bytes(b"secret")
    (run / "page").mkdir()
    (run / "page" / "neuron-0.webp").symlink_to(tmp_path / "outside.webp")
    done = call("export", "run", "shared.zip", cwd=tmp_path)
    assert done.returncode == 1 and "leads out of its run's folder" in done.stderr


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/a/b/c.pkl", "c.pkl"), ("file:///a/b%20c.pkl", "b c.pkl"), ("~/a/b", "b"),
        ("C:\\a\\b.pt", "b.pt"), ("d:/a/b.pt", "b.pt"),
        ("a/b.pkl", None), ("package://zoo/w.safetensors", None), ("https://a.b/c.pkl", None),
        ("layer?.*", None), ("/", None), ("", None), ("C:", None),
    ],
)  # fmt: skip
def test_names_of_paths(text: str, name: str | None) -> None:
    assert name_of(text) == name


def test_longer_paths_go_first() -> None:
    places = {"/a": "a", "/a/b": "b"}
    assert in_page("x /a/b y /a z", places) == "x b y a z"
    assert told("x.html", b"x /a/b", {"/a/b": "b"}) == "/a/b"
    assert told("x.webp", b"x /a/b", {"/a/b": "b"}) is None
    assert told("x.html", b"https://a.org/home/x /b/home.png", {}) is None


@pytest.mark.parametrize(
    "word", ["a b", "it's", "a\\'b", "back\\", "x,y", "{z}", "a:b", "100%", "\u00e4", "$x"]
)
def test_words_are_taken_as_they_are(word: str) -> None:
    from rosetta_lab.run.command_line import parse

    found = with_keys([word, "--help", "k=3", "second", "third"], ("dictionary", "out"))
    values = {override.key_or_group: override.value() for override in parse(found[:1] + found[3:4])}
    assert values == {"dictionary": word, "out": "second"}
    assert found[1:3] == ["--help", "k=3"] and found[4] == "third"


@pytest.mark.parametrize("own", [True, False])
def test_only_scripts_of_this_package_run(
    own: bool, run: Path, tmp_path: Path, driver: WebDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a browser: the pages' own scripts do, a stranger's do not."""
    script = "document.title = 'ran'"
    if own:
        monkeypatch.setattr("rosetta_lab.run.archives.asset", lambda _: script)
    (run / "index.html").write_text(
        "<!doctype html><html><head><title>before</title></head><body>"
        f"<img src=x onerror='{script}'><a href=\"javascript:{script}\">go</a>"
        f"<script>{script}</script></body></html>"
    )
    exported(run, tmp_path / "shared.zip")
    driver.get((rl.load(tmp_path / "shared.zip").page).as_uri())
    assert driver.title == ("ran" if own else "before")
    driver.find_element(By.TAG_NAME, "a").click()
    assert driver.title == ("ran" if own else "before")
