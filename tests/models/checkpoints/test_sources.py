"""What sources lead to: refusals, one download for all processes, local files, weights."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from checkpoint_checks import fails, fetched, leftovers
from checkpoint_files import Golden
from file_server import FileServer

import rosetta_lab
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_weights, transfer

DATA = random.Random(0).randbytes(200_000)
SHA = hashlib.sha256(DATA).hexdigest()


# answers that are no checkpoint ----------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_final(status: int, server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA, statuses=[status] * 9)
    message = fails(url)
    assert url in message and f"HTTP {status}" in message
    assert str(cache) in message and "weights=PATH" in message
    assert len(server.requests) == 1
    assert not leftovers(cache)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_web_page_instead_of_a_file(content_type: str, server: FileServer, cache: Path) -> None:
    page = b"\n<!DOCTYPE html><html>Please sign in</html>"
    url = server.serve("/model.pkl", page, content_type=content_type)
    assert "web page" in fails(url)
    assert not leftovers(cache) and not list(cache.rglob("model.pkl"))


def test_pointer_instead_of_a_file(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "Git LFS pointer" in fails(url)
    assert not leftovers(cache) and not list(cache.rglob("model.pkl"))


def test_wrong_sha256(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA)
    message = fails(url, sha256="0" * 64)
    assert SHA in message and "0" * 64 in message
    assert not leftovers(cache) and not list(cache.rglob("model.pkl"))
    fetched(url)
    assert SHA in fails(url, sha256="0" * 64)


@pytest.mark.parametrize("length", ["many", "-5", "1e9"])
def test_length_that_is_no_number(length: str, server: FileServer, cache: Path) -> None:
    headers = {"Content-Length": length}
    url = server.serve("/model.pkl", DATA, length=False, headers=headers)
    assert fetched(url).read_bytes() == DATA


@pytest.mark.parametrize(
    "url", ["http://[bad/model.pkl", "http://host:port/m", "http://a b/c\x1b[2J"]
)
def test_addresses_of_nothing(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.time, "sleep", lambda _: pytest.fail("waited"))
    assert "\x1b" not in fails(url)


def test_damaged_cache_is_noticed(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA)
    path = fetched(url)
    path.write_bytes(DATA[:-1] + b"?")
    message = fails(url)
    assert SHA in message and f"Delete {path}" in message


def test_download_whose_checksum_is_gone(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells what it should be, so it is not what was downloaded."""
    url = server.serve("/model.pkl", DATA)
    path = fetched(url)
    path.with_name("model.pkl.sha256").unlink()
    path.write_bytes(b"planted")
    with monkeypatch.context() as patch:
        patch.setenv("ROSETTA_OFFLINE", "1")
        assert "offline" in fails(url)
    assert fetched(url).read_bytes() == DATA


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, f" {SHA}"])
def test_sha256_that_is_none(sha256: str, server: FileServer, cache: Path, tmp_path: Path) -> None:
    """An empty one would otherwise pass for none, and anything for the file."""
    (tmp_path / "model.pkl").write_bytes(DATA)
    for source in (server.serve("/model.pkl", DATA), str(tmp_path / "model.pkl")):
        assert "64 hexadecimal digits" in fails(source, sha256=sha256)


# several processes -----------------------------------------------------------------------------

FORK = multiprocessing.get_context("fork")


def test_one_downloads_and_the_others_wait(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA, pause=0.03)
    processes = [FORK.Process(target=fetched, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(server.requests) == 1
    assert fetched(url).read_bytes() == DATA


def test_killed_downloader_is_taken_over(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA, pause=0.2)
    owner = FORK.Process(target=fetched, args=(url,))
    owner.start()
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in cache.rglob("model.pkl.part")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    waiting = FORK.Process(target=fetched, args=(url,))
    waiting.start()
    time.sleep(0.2)
    assert len(server.requests) == 1
    owner.kill()
    server.files["/model.pkl"].pause = 0.0
    waiting.join(60)
    assert waiting.exitcode == 0
    assert fetched(url, sha256=SHA).read_bytes() == DATA
    assert len(server.requests) == 2 and server.ranges[1] is not None


# offline, folders, other sources ---------------------------------------------------------------


@pytest.mark.parametrize("variable", ["ROSETTA_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(
    variable: str, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve("/model.pkl", DATA)
    monkeypatch.setenv(variable, "1")
    message = fails(url)
    assert "offline" in message and url in message
    assert str(cache) in message and "weights=PATH" in message
    assert not server.requests
    monkeypatch.setenv(variable, "0")
    path = fetched(url)
    monkeypatch.setenv(variable, "1")
    assert fetched(url) == path
    assert len(server.requests) == 1


def test_cache_that_cannot_be_written(
    server: FileServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "file"))
    assert "set ROSETTA_CACHE" in fails(server.serve("/model.pkl", DATA))


def test_disk_without_room(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "Set ROSETTA_CACHE" in fails(server.serve("/model.pkl", DATA))
    assert len(server.requests) == 1


def test_progress_bar(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fetched(server.serve("/model.pkl", DATA))
    assert "model.pkl: 100%" in terminal.getvalue() and "200k/200k" in terminal.getvalue()


def test_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my model.pkl"
    path.write_bytes(DATA)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for source in (str(path), path.as_uri(), "my model.pkl", "~/my model.pkl"):
        found = fetched(source, sha256=SHA)
        assert os.path.samefile(found, path)
    assert "%20" in path.as_uri()
    assert SHA in fails(str(path), sha256="0" * 64)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("/no/such/model.pkl", "no such file: /no/such/model.pkl"),
        ("file:///no/such/model.pkl", "no such file: /no/such/model.pkl"),
        ("package://zoo/weights/nothing.safetensors", "nothing.safetensors"),
        ("package://../README.md", "outside the package"),
        ("s3://bucket/model.pkl", "unknown scheme 's3'"),
        ("x" * 1000, "is no path: File name too long"),
        (f"file:///{'a/' * 3000}", "is no path: File name too long"),
    ],
)
def test_sources_that_lead_nowhere(source: str, wanted: str) -> None:
    with pytest.raises(RosettaError, match=wanted):
        fetched(source)


def test_files_of_the_package() -> None:
    found = fetched("package://errors.py")
    assert found == Path(rosetta_lab.__file__).parent / "errors.py"


# weights from a URL ----------------------------------------------------------------------------


def test_weights_from_a_url(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BigGAN-deep: the weights, and the config that is published beside them."""
    golden = Golden.read("biggan_deep")
    file = io.BytesIO()
    torch.save(golden.below("param/"), file)
    url = server.serve("/biggan-deep-pytorch_model.bin", file.getvalue())
    config = json.dumps(golden.json("config")).encode()
    server.serve("/biggan-deep-config.json", config, content_type="application/json")
    for _ in range(2):
        weights = load_weights(url)
        assert weights.source == url
        assert weights.sha256 == hashlib.sha256(file.getvalue()).hexdigest()
        assert weights.config is not None and weights.config["n_stats"] == 51
        assert weights.state_dict.keys() == golden.below("param/").keys()
    assert [path for path, *_ in server.requests] == [
        "/biggan-deep-pytorch_model.bin",
        "/biggan-deep-config.json",
    ]
    assert weights.file is not None and weights.file.suffix == ".safetensors"
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    for source in (url, str(weights.file)):
        for path in cache.rglob("*config.json*"):
            path.unlink()
        assert load_weights(source).config == weights.config
