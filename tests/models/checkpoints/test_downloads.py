"""Downloads from a real HTTP server that drops, refuses, lies and changes its mind."""

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
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from checkpoint_checks import fails, fetched
from checkpoint_files import Golden
from file_server import FileServer, file_server

import rosetta_lab
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import download, load_weights, transfer

DATA = random.Random(0).randbytes(200_000)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; online; retries without delay."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("ROSETTA_OFFLINE", raising=False)
    monkeypatch.setattr(transfer, "BACKOFF", 0.0)
    return tmp_path / "cache"


def leftovers(cache: Path) -> list[str]:
    """Names of files that are neither finished nor locks."""
    finished = ("model.pkl", "model.pkl.sha256", "model.pkl.lock")
    return [p.name for p in cache.rglob("*") if p.is_file() and p.name not in finished]


def test_download_once(server: FileServer, cache: Path) -> None:
    url = server.serve("/networks/model.pkl", DATA)
    path = fetched(url, sha256=SHA.upper())
    assert path.read_bytes() == DATA
    assert path.name == "model.pkl" and cache in path.parents
    assert path.with_name("model.pkl.sha256").read_text() == f"{SHA}  model.pkl\n"
    assert fetched(url) == path
    assert len(server.requests) == 1 and server.ranges == [None]
    assert not leftovers(cache)


def test_files_of_one_name_from_two_places(server: FileServer, cache: Path) -> None:
    first = fetched(server.serve("/a/model.pkl", DATA))
    second = fetched(server.serve("/b/model.pkl", DATA[:100]))
    third = fetched(server.serve("/b/model.pkl?version=2", DATA[:50]))
    assert [len(p.read_bytes()) for p in (first, second, third)] == [200_000, 100, 50]


@pytest.mark.parametrize("path", ["/..%2f..%2fevil", "/a/..", "/.hidden", "/", "/x" * 200 + ".pkl"])
def test_names_stay_inside_the_cache(path: str, server: FileServer, cache: Path) -> None:
    found = fetched(server.serve(path, DATA))
    assert (cache / "downloads").resolve() in found.resolve().parents
    assert not found.name.startswith(".")


# connections that break ------------------------------------------------------------------------


def test_dropped_connection_is_resumed(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA, drops=[70_000, 150_000])
    assert fetched(url, sha256=SHA).read_bytes() == DATA
    assert server.ranges == [None, "bytes=70000-", "bytes=150000-"]
    assert [condition for _, _, condition in server.requests] == [None, '"v1"', '"v1"']
    assert server.bytes_sent == len(DATA)
    assert not leftovers(cache)


def test_the_next_run_goes_on(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve("/model.pkl", DATA, drops=[50_000, 50_000], statuses=[200, 503, 503, 503])
    monkeypatch.setattr(transfer, "RETRIES", 1)
    message = fails(url)
    assert url in message and str(cache) in message and "weights=PATH" in message
    assert "running again goes on from there" in message
    assert sorted(leftovers(cache)) == ["model.pkl.part", "model.pkl.part.json"]
    server.files["/model.pkl"].statuses.clear()
    server.files["/model.pkl"].drops.clear()
    assert fetched(url).read_bytes() == DATA
    assert server.ranges[-1] == "bytes=50000-"


@pytest.mark.parametrize("step", ["sha256_of", "record_digest"])
def test_killed_before_the_renaming(
    step: str, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all that has arrived is checked, or its checksum written: one byte comes again.

    With it, the server confirms that the file is still the one that has arrived.
    """
    url = server.serve("/model.pkl", DATA)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, step, killed)
        with pytest.raises(KeyboardInterrupt):
            fetched(url)
    assert not list(cache.rglob("model.pkl"))
    assert fetched(url, sha256=SHA).read_bytes() == DATA
    assert server.ranges == [None, f"bytes={len(DATA) - 1}-"]
    assert server.bytes_sent == len(DATA) + 1
    assert not leftovers(cache)


def test_complete_but_not_renamed_and_changed_since(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve("/model.pkl", DATA)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "record_digest", killed)
        with pytest.raises(KeyboardInterrupt):
            fetched(url)
    server.serve("/model.pkl", DATA[::-1], etag='"v2"')
    assert fetched(url).read_bytes() == DATA[::-1]


@pytest.mark.parametrize("moves", [False, True])
def test_redirected_download_is_resumed(moves: bool, server: FileServer, cache: Path) -> None:
    """Hubs answer with the address of the moment; ranges and conditions go there, every time."""
    server.serve("/cdn/a", DATA, drops=[70_000])
    url = server.redirect("/resolve/model.pkl", "/cdn/a")
    if moves:  # to the same file under another address
        server.serve("/cdn/b", DATA)

        class Once(dict[str, str]):
            def get(self, path: str, default: object = None) -> object:  # type: ignore[override]
                to = super().get(path, default)
                if path in self:
                    self[path] = "/cdn/b"
                return to

        server.redirections = Once(server.redirections)
    path = fetched(url, sha256=SHA)
    assert path.read_bytes() == DATA and path.name == "model.pkl"
    assert [(where, wanted) for where, wanted, _ in server.requests] == [
        ("/resolve/model.pkl", None),
        ("/cdn/a", None),
        ("/resolve/model.pkl", "bytes=70000-"),
        ("/cdn/b" if moves else "/cdn/a", "bytes=70000-"),
    ]
    assert server.requests[-1][2] == '"v1"', "the file's validator, not the redirection's"
    assert server.bytes_sent == len(DATA)


@pytest.mark.parametrize("to", ["/cdn/nothing", "/model.pkl"])
def test_redirection_to_nowhere(to: str, server: FileServer, cache: Path) -> None:
    """Or back to itself."""
    url = server.redirect("/model.pkl", to)
    message = fails(url)
    assert url in message and "weights=PATH" in message
    assert not leftovers(cache)


def test_server_that_ignores_ranges(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA, drops=[70_000], ranges=False)
    assert fetched(url, sha256=SHA).read_bytes() == DATA
    assert server.ranges == [None, "bytes=70000-"]


@pytest.mark.parametrize("etag", ['"v2"', None])
def test_file_that_changes_halfway(etag: str | None, server: FileServer, cache: Path) -> None:
    """With a validator the server sends the new file whole; without, we ask for the whole file."""
    url = server.serve(
        "/model.pkl", DATA, drops=[70_000], etag=etag and '"v1"', statuses=[200, 503]
    )
    changed = DATA[::-1] + b"longer"

    class Change(list[int]):
        def pop(self, index: int = 0) -> int:  # type: ignore[override]
            status = super().pop(index)
            if status == 503:
                server.files["/model.pkl"].data = changed
                server.files["/model.pkl"].etag = etag
            return status

    server.files["/model.pkl"].statuses = Change([200, 503])
    assert fetched(url).read_bytes() == changed
    assert server.ranges[1] == ("bytes=70000-" if etag else None)


@pytest.mark.parametrize(
    ("notes", "ranges"),
    [
        ({"total": 900_000, "validator": '"v1"'}, ["bytes=400000-", None]),
        ({"total": 300_000, "validator": '"v1"'}, [None]),
        ({"total": 900_000, "validator": None}, [None]),  # nobody could tell whether it is the file
        ({"total": "many", "validator": '"v1"'}, [None]),
        ([], [None]),
    ],
    ids=["longer", "longer_than_noted", "no_validator", "odd", "odder"],
)
def test_parts_that_are_no_beginning(
    notes: object, ranges: list[str | None], server: FileServer, cache: Path
) -> None:
    url = server.serve("/model.pkl", DATA)
    path = fetched(url)
    path.unlink()
    path.with_name("model.pkl.part").write_bytes(DATA + DATA)
    path.with_name("model.pkl.part.json").write_text(json.dumps(notes))
    assert fetched(url).read_bytes() == DATA
    assert server.ranges == [None, *ranges]


def test_without_a_validator_nothing_is_resumed(server: FileServer, cache: Path) -> None:
    """The length alone does not tell whether the rest is of the same file."""
    url = server.serve("/model.pkl", DATA, etag=None, drops=[70_000])
    assert fetched(url, sha256=SHA).read_bytes() == DATA
    assert server.ranges == [None, None]


def test_part_of_unknown_origin_is_not_trusted(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA)
    path = fetched(url)
    path.unlink()
    path.with_name("model.pkl.part").write_bytes(b"rubbish")
    assert fetched(url).read_bytes() == DATA


def test_without_content_length(server: FileServer, cache: Path) -> None:
    assert fetched(server.serve("/model.pkl", DATA, length=False)).read_bytes() == DATA


def test_passing_trouble_is_waited_out(server: FileServer, cache: Path) -> None:
    url = server.serve("/model.pkl", DATA, statuses=[503, 429, 500])
    assert fetched(url).read_bytes() == DATA
    assert len(server.requests) == 4


def test_waiting_grows(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(transfer, "BACKOFF", 1.0)
    monkeypatch.setattr(transfer.time, "sleep", pauses.append)
    assert "HTTP 500" in fails(server.serve("/model.pkl", DATA, statuses=[500] * 9))
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert len(server.requests) == 5


def test_nobody_listens(server: FileServer, cache: Path) -> None:
    server.url = "http://127.0.0.1:1"
    assert "refused" in fails(server.serve("/model.pkl", DATA))


def test_unknown_host_is_not_retried(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.time, "sleep", lambda _: pytest.fail("waited"))
    message = fails("http://no-such-host.invalid/model.pkl")
    assert "http://no-such-host.invalid/model.pkl" in message and "weights=PATH" in message


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
