"""What downloads and conversions leave behind: for this user alone, and none of their secrets."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import torch
from checkpoint_checks import fails, fetched, no_room
from file_server import FileServer

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import child, convert, load_weights

DATA = bytes(range(256)) * 100


@pytest.fixture
def cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Conversions in this process."""
    monkeypatch.setattr(convert, "convert_apart", child.convert)
    return cache


# what is nobody else's business ----------------------------------------------------------------

SECRET = (
    "http://somebody:pass%20word@{host}/model.pkl?version=2&X-Amz-Signature=abcdef&Expires=9#me"
)
SECRETS = ("somebody", "pass%20word", "pass word", "abcdef", "Expires", "#me")


def test_logins_and_signatures_are_neither_printed_nor_stored(
    server: FileServer,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(0)
    file = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, file)
    path = "/model.pkl?version=2&X-Amz-Signature=abcdef&Expires=9"
    host = server.serve(path, file.getvalue(), statuses=[503, 200]).split("/")[2]
    url = SECRET.format(host=host)
    weights = load_weights(url)
    assert weights.source == f"http://{host}/model.pkl?version=2&..."
    assert server.logins == ["Basic c29tZWJvZHk6cGFzcyB3b3Jk"] * 2
    kept = [path.read_bytes() + os.fsencode(path) for path in cache.rglob("*") if path.is_file()]
    assert len(kept) >= 4
    with pytest.raises(RosettaError) as caught:
        fetched(url, sha256="0" * 64)
    server.files.clear()
    gone = [
        fails(url + "&other=1"),
        fails(url.replace("/model", "/no")),
        fails(url[:-3] + "/9\x1b"),
    ]
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    offline = fails(url.replace("#me", "&other=2"))
    told = " ".join([caplog.text, str(caught.value), offline, repr(weights), *gone])
    assert "trying again" in told and host in told
    for secret in SECRETS:
        assert secret not in told
        assert not any(secret.encode() in contents for contents in kept)


def test_logins_of_other_schemes() -> None:
    for source in ("s3://key:word@bucket/m.pth?secret=1", "ftp://key:word@[bad/m.pth"):
        message = fails(source)
        assert "word" not in message and "secret" not in message and "key" not in message


def test_logins_stay_with_their_server(server: FileServer, cache: Path) -> None:
    server.serve("/cdn/a", DATA)
    url = server.redirect("/model.pkl", "/cdn/a").replace("http://", "http://me:word@")
    assert fetched(url).read_bytes() == DATA
    assert server.logins == ["Basic bWU6d29yZA==", None]


# a private cache -------------------------------------------------------------------------------


def test_the_cache_is_for_its_user_alone(server: FileServer, cache: Path) -> None:
    before = os.umask(0)
    try:
        fetched(server.serve("/model.pkl", DATA))
        torch.save({"weight": torch.ones(3)}, cache.parent / "model.pth")
        converted = load_weights(str(cache.parent / "model.pth")).file
    finally:
        os.umask(before)
    assert converted is not None
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
    assert len(folders) == 4
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    converted.parent.chmod(0o777)  # as a former version may have left it
    load_weights(str(cache.parent / "model.pth"))
    assert converted.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("below", ["", "downloads", "converted"])
@pytest.mark.parametrize("how", ["link", "file", "stranger", "writable"])
def test_caches_of_others(
    how: str, below: str, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"weight": torch.ones(3)}, cache.parent / "model.pth")
    source = str(cache.parent / "model.pth")
    if below != "converted":
        source = server.serve("/model.pkl", Path(source).read_bytes())
    folder = cache / below
    folder.parent.mkdir(exist_ok=True)
    elsewhere = cache.parent / "elsewhere"
    if how == "link":
        elsewhere.mkdir()
        folder.symlink_to(elsewhere)
    elif how == "file":
        folder.touch()
    else:
        folder.mkdir()
        if how == "writable":
            folder.chmod(0o777)
        elif os.getuid() == 0:  # whose own folders anybody may trust
            os.chown(folder, 54321, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 54321)
    fine = (how == "link" and not below) or (how == "writable" and bool(below))
    if fine:  # a cache may lie on another disk; a folder of our own is made private
        load_weights(source)
        return
    with pytest.raises(RosettaError) as caught:
        load_weights(source)
    message = str(caught.value)
    assert "ROSETTA_CACHE" in message and str(folder) in message and message.count("\n") == 1
    assert not elsewhere.exists() or not any(elsewhere.iterdir())


def test_links_in_the_cache_are_not_followed(server: FileServer, cache: Path) -> None:
    """Neither to read what somebody planted, nor to write over what they lead to."""
    url = server.serve("/model.pkl", DATA)
    path = fetched(url)
    treasure = cache.parent / "treasure"
    treasure.write_bytes(b"precious")
    for name in ("model.pkl", "model.pkl.part", "model.pkl.lock"):
        path.with_name(name).unlink(missing_ok=True)
        path.with_name(name).symlink_to(treasure)
    assert fetched(url).read_bytes() == DATA
    assert treasure.read_bytes() == b"precious" and not path.is_symlink()


def test_cache_in_the_home_folder(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(cache.parent))
    monkeypatch.setenv("ROSETTA_CACHE", "~/mine")
    monkeypatch.chdir(cache.parent)
    assert cache.parent / "mine" in fetched(server.serve("/model.pkl", DATA)).parents


def test_a_full_disk(server: FileServer, cache: Path) -> None:
    """Said at once: trying again would not help."""
    url = server.serve("/model.pkl", DATA)
    with no_room(), pytest.raises(RosettaError) as caught:
        fetched(url)
    message = str(caught.value)
    assert "cannot write" in message and "ROSETTA_CACHE" in message and message.count("\n") == 1
    assert len(server.requests) == 1
    assert fetched(url).read_bytes() == DATA
