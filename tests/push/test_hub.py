"""Dictionaries go to a hub and come back, by its own library, over HTTP."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from commands import call
from hub_server import TOKEN, Hub, commit_id, hub_server

import rosetta_lab as rl
from rosetta_lab.errors import RosettaError
from rosetta_lab.run.command_line import zoo_of
from rosetta_lab.run.shared import dictionary_place

MINED = Path(__file__).parents[1] / "stored" / "mined"
NAME = "somewhere/garments"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine; the caches are empty; the user is logged in."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for name in ("HF_HUB_OFFLINE", "ROSETTA_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)  # read from the environment at import
    monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)  # the server speaks LFS
    monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "token"))
    with hub_server() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.ENDPOINT", server.url)
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", server.url)
        yield server


def test_there_and_back(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = call("push", str(MINED), NAME, "private=true", cwd=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    files = hub.states[NAME][-1]
    assert files.keys() == {"dictionary.zip", "README.md"} and NAME in hub.private
    assert f"PUT /lfs/{next(iter(hub.stored))}" in hub.asked
    card = files["README.md"].decode()
    record = rl.load(MINED).record
    assert f"{len(record.neurons)} Rosetta neurons in {len(record.concepts)} concepts" in card
    assert all(f"| `{name}` |" in card for name in record.discriminative)
    assert f"hf://{NAME}" in card and TOKEN not in card

    pulled = call("pull", NAME, cwd=tmp_path)
    assert pulled.returncode == 0, pulled.stderr
    folder = tmp_path / "outputs" / "pull" / "somewhere_garments"
    assert rl.load(folder).record == record
    with zipfile.ZipFile(BytesIO(files["dictionary.zip"])) as archive:
        assert {name.split("/", 1)[1] for name in archive.namelist()} == {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
    again = call("pull", NAME, cwd=tmp_path)
    assert again.returncode == 1 and "is there already" in again.stderr

    assert rl.load(f"hf://{NAME}").record == record
    assert zoo_of(f"hf://{NAME}") == zoo_of(str(MINED)) == "embedded"
    done = call("overlap", f"dictionaries=[hf://{NAME},{MINED}]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stdout
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    before = len(hub.asked)
    assert rl.load(f"hf://{NAME}").record == record and len(hub.asked) == before


def test_a_revision_is_a_state(hub: Hub, tmp_path: Path) -> None:
    assert call("push", str(MINED), NAME, cwd=tmp_path).returncode == 0
    hub.commit(NAME, {"dictionary.zip": b"PK\3\4 and nothing"})
    assert rl.load(f"hf://{NAME}@{commit_id(1)}").record == rl.load(MINED).record
    with pytest.raises(RosettaError, match=r"no directory at its end.*refused\.\n"):
        rl.load(f"hf://{NAME}")
    done = call("pull", NAME, "here", cwd=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "here").exists()
    assert not list(tmp_path.glob(".*"))


def test_who_is_not_logged_in_is_told_what_to_do(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = call("push", str(MINED), NAME, cwd=tmp_path)
    assert done.returncode == 1 and not hub.asked
    assert all(words in done.stderr for words in ("no login", "hf auth login", "HF_TOKEN"))
    assert len(done.stderr.strip().splitlines()) == 2
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    assert "offline" in call("push", str(MINED), NAME, cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["push", str(MINED), "somebody/else"], r"lets you not write to it \(HTTP 40.\)\."),
        (["push", str(MINED), f"{NAME}@main"], "Leave @main out"),
        (["push", str(MINED), "../x"], "no repository of the hub"),
        (["push", str(MINED)], "expected a dictionary and a repository"),
        (["push", "nowhere", NAME], "No dictionary at nowhere"),
        (["pull"], "expected a repository"),
        (["pull", "a/b/c"], "no repository of the hub"),
        (["pull", "no/body"], r"no such dataset with a dictionary.zip.*\(HTTP 404\)"),
        (["overlap", "dictionaries=[hf://no/body,embedded]"], "no such dataset"),
    ],
)
def test_mistakes(words: list[str], message: str, hub: Hub, tmp_path: Path) -> None:
    name, *arguments = words
    done = call(name, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 2 and TOKEN not in done.stderr
    assert not [name for name in hub.states if hub.states[name][-1]]


def test_nothing_is_fetched_because_a_file_says_so(hub: Hub, tmp_path: Path) -> None:
    shared = Path(shutil.copytree(MINED.parent, tmp_path / "shared"))
    recipe = shared / "edited" / "recipe.yaml"
    recipe.write_text(f"{recipe.read_text()}dictionary: hf://{NAME}\n")
    done = call("edit", f"recipe={recipe}", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 1 and "Pass trust_sources=true" in done.stdout + done.stderr
    config = shared / "inverted_all" / ".hydra" / "config.yaml"
    config.write_text(
        re.sub(r"(?m)^dictionary: .*$", f"dictionary: hf://{NAME}", config.read_text())
    )
    assert f"hf://{NAME}" in config.read_text()
    runs = "runs=[shared/inverted_all,shared/inverted_plain]"
    done = call("compare", runs, "resamples=10", "hydra.run.dir=compared", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not hub.asked


def test_without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    with pytest.raises(RosettaError, match=r"cannot be reached.*\n.*dictionary=PATH\.zip"):
        dictionary_place(f"hf://{NAME}")
