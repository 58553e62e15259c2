"""Downloads from a real HTTP server that drops, refuses, lies and changes its mind."""

from __future__ import annotations

import hashlib
import json
import random
import time
from pathlib import Path

import pytest
from checkpoint_checks import fails, fetched, leftovers
from file_server import FileServer

from rosetta_lab.models.checkpoints import download, transfer

DATA = random.Random(0).randbytes(200_000)
SHA = hashlib.sha256(DATA).hexdigest()


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
    for _ in range(100):  # the server counts what it has sent, after it
        if server.bytes_sent > len(DATA):
            break
        time.sleep(0.05)
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
