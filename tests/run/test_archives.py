"""Archives of strangers: what is not as export writes it is refused before anything is unpacked."""

from __future__ import annotations

import io
import shutil
import stat
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rosetta_lab.errors import RosettaError
from rosetta_lab.run import archives
from rosetta_lab.run.archives import is_archive, unpack
from rosetta_lab.run.shared import dictionary_place, is_unpacked

JSON, TENSORS = ("d/dictionary.json", b"{}"), ("d/statistics.safetensors", b"numbers")
Entry = tuple[str | zipfile.ZipInfo, bytes]


def packed(*entries: Entry, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def entry(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def changed(data: bytes, before: bytes, after: bytes, count: int = -1) -> bytes:
    assert before in data and len(before) == len(after)
    return data.replace(before, after, count)


def with_field(data: bytes, place: int, value: bytes) -> bytes:
    """Whose directory tells something else of the last record."""
    at = data.rindex(b"PK\1\2") + place
    return data[:at] + value + data[at + len(value) :]


def with_size(data: bytes, size: int) -> bytes:
    """Whose last record tells another unpacked size, in both places."""
    for mark, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        at = data.rindex(mark) + offset
        data = data[:at] + struct.pack("<L", size) + data[at + 4 :]
    return data


GOOD = packed(JSON, TENSORS)
BOMB = packed(JSON, ("d/statistics.safetensors", bytes(200_000_000)))
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (packed(), "no directory|no dictionary.json"),
    "cut off": (GOOD[:-30], "no directory at its end"),
    "half": (GOOD[: len(GOOD) // 2], "no directory at its end"),
    "behind it": (GOOD + b"x", "no directory at its end"),
    "before it": (b"PK\3\4 more" + GOOD, "before or behind"),
    "two archives": (GOOD + GOOD, "before or behind"),
    "a comment": (GOOD[:-2] + b"\5\0hello", "no directory at its end"),
    "no dictionary": (packed(TENSORS), "no dictionary.json"),
    "too deep": (packed(("a/b/dictionary.json", b"{}")), "no dictionary.json"),
    "beside its folder": (packed(JSON, ("e/x.json", b"{}")), "beside the folder"),
    "out of it": (packed(JSON, ("../x.json", b"{}")), "not called like a file"),
    "out of it, deeper": (packed(JSON, ("d/../../x.json", b"{}")), "not called like a file"),
    "absolute": (packed(JSON, ("/tmp/x.json", b"{}")), "not called like a file"),
    "of a drive": (packed(JSON, ("C:/x.json", b"{}")), "not called like a file"),
    "backslashes": (packed(JSON, ("d\\x.json", b"{}")), "not called like a file"),
    "hidden": (packed(JSON, ("d/.bashrc.json", b"{}")), "not called like a file"),
    "a program": (packed(JSON, ("d/run.sh", b"rm")), "not called like a file"),
    "a script": (packed(JSON, ("d/page.js", b"x")), "not called like a file"),
    "a drawing": (packed(JSON, ("d/x.svg", b"<svg/>")), "not called like a file"),
    "a terminal's command": (packed(JSON, ("d/\x1b[2J.json", b"")), "not called like a file"),
    "a NUL": (changed(packed(JSON, ("d/xy.json", b"")), b"d/xy", b"d/x\0"), "not called|damaged"),
    "no ASCII": (packed(JSON, ("d/\u0430.json", b"")), "not called like a file"),
    "a link": (packed(JSON, (entry("d/x.json", stat.S_IFLNK), b"/etc/passwd")), "a link"),
    "a pipe": (packed(JSON, (entry("d/x.json", stat.S_IFIFO), b"")), "a link"),
    "encrypted": (with_field(GOOD, 8, b"\1"), "encrypted"),
    "bzip2": (packed(JSON, how=zipfile.ZIP_BZIP2), "packed in a way"),
    "twice": (changed(packed(JSON, ("d/dictionary.jsoN", b"")), b"jsoN", b"json"), "one name"),
    "twice, but for case": (packed(JSON, ("d/A.png", b""), ("d/a.png", b"")), "one name"),
    "a file and a folder": (packed(JSON, ("d/a.png", b""), ("d/a.png/b.png", b"")), "one name"),
    "a bomb": (BOMB, "bytes would become 200000"),
    "a bomb that lies": (with_size(BOMB, 1000), "damaged|another length"),
    "longer than it is": (with_size(GOOD, 1000), "damaged|another length"),
    "another checksum": (with_field(GOOD, 16, b"abcd"), "damaged"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))

    def written(data: bytes) -> Path:
        (tmp_path / "shared.zip").write_bytes(data)
        return tmp_path / "shared.zip"

    return written


def test_what_nobody_has_changed_is_unpacked(place: Callable[[bytes], Path]) -> None:
    folder = dictionary_place(place(GOOD))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "dictionary.json": b"{}", "statistics.safetensors": b"numbers",
    }  # fmt: skip
    assert is_unpacked(folder) and stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert dictionary_place(place(GOOD)) == folder  # not again
    assert dictionary_place(place(packed(JSON))) != folder


def test_by_another_program_with_its_folders(
    place: Callable[[bytes], Path], tmp_path: Path
) -> None:
    tree = tmp_path / "tree" / "mine" / "page"
    tree.mkdir(parents=True)
    (tree.parent / "dictionary.json").write_bytes(b"{}")
    (tree / "a.webp").write_bytes(b"picture")
    made = shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path / "tree")
    folder = dictionary_place(made)
    assert (folder / "page" / "a.webp").read_bytes() == b"picture"


@pytest.mark.parametrize("kind", BAD)
def test_what_is_refused(kind: str, place: Callable[[bytes], Path], tmp_path: Path) -> None:
    data, message = BAD[kind]
    archive = place(data)
    if not is_archive(archive):
        assert kind == "empty"
        return
    with pytest.raises(RosettaError, match=rf"shared\.zip: .*(?:{message}).*refused\.\n") as error:
        dictionary_place(archive)
    assert len(str(error.value).splitlines()) == 2
    assert all(c.isprintable() or c == "\n" for c in str(error.value))
    assert {path.name for path in tmp_path.iterdir()} == {"shared.zip", "cache"}
    kept = tmp_path / "cache" / "dictionaries"
    assert not [path for path in kept.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("counted", [True, False])
def test_thousands_of_files(
    counted: bool, place: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the end of the directory tells fewer entries than there are."""
    monkeypatch.setattr(archives, "MOST_MEMBERS", 100)
    data = packed(JSON, *[(f"d/{n}.png", b"") for n in range(100)], how=zipfile.ZIP_STORED)
    end = data if counted else data[:-14] + struct.pack("<2H", 1, 1) + data[-10:]
    with pytest.raises(RosettaError, match="more than 100 files"):
        dictionary_place(place(end))
    assert dictionary_place(place(GOOD)).is_dir()


def test_pages_are_behind_a_policy_and_tables_hold_no_formulas(
    place: Callable[[bytes], Path], tmp_path: Path
) -> None:
    page, table = ("d/index.html", b"<script>evil()</script>"), ("d/cliques.csv", b"a,=1+1\n")
    out = tmp_path / "out"
    out.mkdir()
    unpack(place(packed(JSON, page, table)), out)
    text = (out / "index.html").read_text()
    assert text.startswith("<!doctype html><meta") and text.endswith("<script>evil()</script>")
    assert text.index("script-src 'sha256-") < text.index("<script>")
    assert (out / "cliques.csv").read_text() == "a,'=1+1\n"


def test_another_program_reads_the_same(place: Callable[[bytes], Path], tmp_path: Path) -> None:
    """Python's is not the only opinion of what an archive holds."""
    if shutil.which("unzip") is None:
        pytest.fail("This test needs unzip: apt-get install unzip")
    archive = place(GOOD)
    subprocess.run(["unzip", "-q", str(archive), "-d", str(tmp_path / "other")], check=True)
    ours = dictionary_place(archive)
    other = tmp_path / "other" / "d"
    assert {p.name: p.read_bytes() for p in ours.iterdir()} == {
        p.name: p.read_bytes() for p in other.iterdir()
    }
