"""Files that appear whole or not at all, with the mode that the user's umask gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_checks import no_room
from safetensors.torch import load_file

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write, cache_folder, replacing, save_tensors

WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: atomic_write(path, bytes(5000)),
    "tensors": lambda path: save_tensors(path, {"a": torch.ones(5000)}),
}


@pytest.fixture(params=[0o022, 0o027, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("writer", WRITERS)
def test_modes_follow_the_umask(writer: str, umask: int, tmp_path: Path) -> None:
    """As those of any file that a program opens."""
    WRITERS[writer](tmp_path / "made")
    (tmp_path / "plain").write_bytes(b"")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("made", "plain")]
    assert modes == [0o666 & ~umask] * 2


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"before")

    def killed() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("\u00e9" * 120)
    atomic_write(path, b"data")
    assert path.read_bytes() == b"data"


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("folder", ["/proc/nothing", "/dev/null"])
def test_folders_that_cannot_be_written_to(writer: str, folder: str) -> None:
    with pytest.raises(RosettaError) as caught:
        WRITERS[writer](Path(folder) / "file")
    message = str(caught.value)
    assert message.startswith(f"cannot write {folder}/file: ") and message.count("\n") == 1


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disks(writer: str, tmp_path: Path) -> None:
    with no_room(), pytest.raises(RosettaError) as caught:
        WRITERS[writer](tmp_path / "file")
    message = str(caught.value)
    assert message.startswith(f"cannot write {tmp_path}/file: ") and message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_tensors_come_back(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.ones(1)}
    save_tensors(tmp_path / "file", state)
    for name, value in load_file(tmp_path / "file").items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("~/mine", "/home/me/mine"), ("/else", "/else"), ("", "/home/me/.cache/rosetta_lab")],
)
def test_cache_folder(variable: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("ROSETTA_CACHE", variable)
    assert cache_folder() == Path(expected)
