"""Files of ``torch.save`` that say two things: an error, whichever of them a reader believes."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_checks import assert_same_state, private, write
from hostile import legacy_file, refused, torch_file

from rosetta_lab.models.checkpoints import load_weights

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


# archives --------------------------------------------------------------------------------------


def archive(value: float = 1.0) -> bytes:
    return torch_file({"weight": torch.full((4,), value)}, zipped=True)


def repacked(
    data: bytes,
    edit: Callable[[str, bytes], bytes] = lambda _, b: b,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """The archive as another tool packs it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, edit(name, old.read(name)))
    return file.getvalue()


def places(data: bytes) -> tuple[int, int]:
    """Where the directory and its end begin."""
    end = data.rindex(b"PK\5\6")
    return int.from_bytes(data[end + 16 : end + 20], "little"), end


def two_directories(first: bytes, second: bytes) -> dict[str, bytes]:
    """Files that are one archive to one reader and another to another."""
    start, end = places(second)
    hidden = first + second  # a reader that looks for the end finds the second
    shifted = bytearray(hidden)
    for offset in (len(first) + start,):
        shifted[-6:-2] = struct.pack("<L", offset)
    comment = second[:-2] + struct.pack("<H", len(first)) + first
    both = second[:end] + second[start:]  # the same directory twice
    with_gap = second[:start] + bytes(100) + second[start:-6] + struct.pack("<LH", start + 100, 0)
    return {
        "one_after_the_other": hidden,
        "with_offsets_that_fit": bytes(shifted),
        "in_the_comment": comment,
        "twice": both,
        "something_before_the_directory": with_gap,
        "something_after_the_end": second + b"\0",
        "something_before": b"PK\3\4" + bytes(60) + second,
    }


@pytest.mark.parametrize("name", two_directories(archive(), archive()))
@pytest.mark.parametrize("packed", ["torch", "zipfile"])
def test_two_directories_in_one_archive(name: str, packed: str, tmp_path: Path) -> None:
    pack = repacked if packed == "zipfile" else lambda data: data
    data = two_directories(pack(archive(1.0)), pack(archive(2.0)))[name]
    refused(data, tmp_path, "damaged or truncated: the archive")


def test_two_records_of_one_name(tmp_path: Path) -> None:
    file = io.BytesIO(repacked(archive()))
    with zipfile.ZipFile(file, "a") as appended:
        name = next(name for name in appended.namelist() if name.endswith("data/0"))
        with pytest.warns(UserWarning, match="Duplicate"):
            appended.writestr(name, bytes(16))
    refused(file.getvalue(), tmp_path, "two records")


@pytest.mark.parametrize("field", [6, 8, 14, 18, 22, 30])
def test_two_descriptions_of_one_record(field: int, tmp_path: Path) -> None:
    """Flags, method, checksum, both sizes and the name, in the header before the first record."""
    data = bytearray(repacked(archive()))
    data[field] ^= 1
    refused(bytes(data), tmp_path, "damaged or truncated: the archive")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_checksum_that_does_not_fit(compressed: bool, tmp_path: Path) -> None:
    data = archive()
    if compressed:
        data = repacked(data, compression=zipfile.ZIP_DEFLATED)
    assert load_weights(write(tmp_path / "fine.pth", data)).state_dict["weight"].sum() == 4
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        crcs = {entry.filename.split("/", 1)[1]: entry.CRC for entry in read.infolist()}
    for name in ("data.pkl", "data/0", "byteorder"):
        crc = struct.pack("<L", crcs[name])
        assert crc in data
        refused(data.replace(crc, bytes(4)), tmp_path, f"{name} that does not fit")


def test_numbers_that_were_changed(tmp_path: Path) -> None:
    data = archive(1.0).replace(struct.pack("<4f", 1, 1, 1, 1), struct.pack("<4f", 1, 1, 1, 2))
    refused(data, tmp_path, "data/0 that does not fit its length or checksum")


def test_an_archive_that_was_written_without_checksums(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """torch can leave them out; then nothing tells, which is said."""
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "model.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same_state(load_weights(str(tmp_path / "model.pth")), STATE)
    assert "written without checksums" in caplog.text


def test_numbers_of_another_machine(tmp_path: Path) -> None:
    data = repacked(archive(), lambda name, b: b"big" if name.endswith("byteorder") else b)
    refused(data, tmp_path, "another order of bytes")


def test_archives_of_other_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With folders as records; with the longer numbers that large archives have."""
    torch.save(STATE, tmp_path / "model.pth")
    with zipfile.ZipFile(tmp_path / "model.pth") as archive:
        archive.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    for limit in (zipfile.ZIP64_LIMIT, 10):
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        with zipfile.ZipFile(tmp_path / "again.pth", "w") as archive:
            for path in (folder, *sorted(folder.rglob("*"))):
                archive.write(path, path.relative_to(folder.parent))
        assert_same_state(load_weights(str(tmp_path / "again.pth")), STATE)
    data = (tmp_path / "again.pth").read_bytes()
    assert b"PK\6\6" in data and data.count(b"\xff" * 8) > 3
    offset = data.rindex(b"PK\6\6") + 48
    for position in (offset, offset + 3, offset - 8, offset + 8 + 8):  # offset, size, the locator
        changed = bytearray(data)
        changed[position] ^= 4
        refused(bytes(changed), tmp_path, "two directories")


# files before torch 1.6 ------------------------------------------------------------------------


def test_the_old_format_by_hand(tmp_path: Path) -> None:
    weights = load_weights(write(tmp_path / "model.pth", legacy_file()))
    assert_same_state(weights, {"weight": torch.arange(4.0)})
    assert torch.equal(torch.load(tmp_path / "model.pth")["weight"], torch.arange(4.0))


FLOATS = struct.pack("<4f", 0, 1, 2, 3)


@pytest.mark.parametrize(
    "data",
    [
        legacy_file(5),
        legacy_file(3),
        legacy_file(120_000, (), b""),
        legacy_file(keys=()),
        legacy_file(keys=("1",)),
        legacy_file(keys=("0", "1")),
        legacy_file(keys=("0", "0"), contents=2 * (struct.pack("<q", 4) + FLOATS)),
        legacy_file(contents=struct.pack("<q", 4) + FLOATS[:-1]),
        legacy_file(contents=struct.pack("<q", -4) + FLOATS),
        legacy_file(contents=struct.pack("<q", 3) + FLOATS),
        legacy_file(kind="DoubleStorage"),
        legacy_file(kind="FloatTensor"),
        legacy_file().replace(b"little_endian", b"medium_endian"),
        legacy_file().replace(b"storage", b"Storage", 1),
    ],
)
def test_the_old_format_with_other_storages(data: bytes, tmp_path: Path) -> None:
    refused(data, tmp_path, "damaged")
