"""A dictionary in one file, NAME.zip, which may be anybody's: checked before a byte is unpacked.

Its members are ordinary files of a few kinds in one folder. Nothing of it is run, neither here nor
in a browser: pages are unpacked behind a policy that allows the scripts of this package alone.
"""

from __future__ import annotations

import csv
import io
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import unwritable, write_csv
from rosetta_lab.pages.document import TEMPLATES, asset, digest

DICTIONARY = "dictionary.json"
SIGNATURE = b"PK\3\4"  # at its beginning
LARGEST = (1 << 32) - (1 << 20)  # bytes, packed or not: beyond, a zip has other records
MOST_MEMBERS = 20_000
ENTRY = 400  # bytes of the directory for each of them, at most
GROWTH, ROOM = 50, 1 << 24  # unpacked bytes: so many times the packed ones, and these
KINDS = ("json", "safetensors", "html", "csv", "webp", "png", "jpg")
MEMBER = re.compile(
    rf"(?:[A-Za-z0-9_-][\w.-]{{0,99}}/){{0,4}}[A-Za-z0-9_-][\w.-]{{0,99}}\.(?:{'|'.join(KINDS)})",
    re.ASCII,
)
END = struct.Struct("<4s4H2LH")
LOCATOR = 20  # bytes that would lead to another end, of a longer archive
ENCRYPTED = 1  # flag


def is_archive(path: Path) -> bool:
    """Whether a file begins like an archive."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def policy() -> str:
    """What a page of others is unpacked behind: no script runs but those of this package."""
    names = sorted(TEMPLATES.list_templates(extensions=["js"]))
    scripts = " ".join(f"'{digest(asset(name))}'" for name in names)
    return (
        '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="'
        "default-src 'none'; img-src 'self' file: data: blob:; style-src 'unsafe-inline'; "
        f"script-src {scripts}; base-uri 'none'; form-action 'none'\">\n"
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive's files into a folder that is there, and empty.

    Args:
        archive: the file.
        folder: where to; the archive's own folder is left out of the names.

    Raises:
        RosettaError: it is damaged, or holds what :mod:`rosetta_lab.export` does not write.
    """
    try:
        with archive.open("rb") as file:
            size = _checked_end(file)
            with zipfile.ZipFile(file) as zipped:
                for name, member in _checked(zipped.infolist(), size).items():
                    target = folder / name
                    try:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with zipped.open(member) as source:
                            _write(source, target, member.file_size)
                    except OSError as error:
                        raise unwritable(target, error) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise refusal(archive, f"it is damaged ({printable(error)})") from None
    except (ValueError, struct.error, csv.Error) as error:
        raise refusal(archive, printable(error)) from None
    except OSError as error:
        raise refusal(archive, f"it cannot be read ({printable(error.strerror)})") from None


def refusal(archive: Path, why: str) -> RosettaError:
    """What is said of an archive that is not opened."""
    return RosettaError(
        f"{printable(archive)}: {why}; refused.\n"
        "Expected a file of python -m rosetta_lab.export RUN NAME.zip: get or export it again."
    )


def _checked_end(file: IO[bytes]) -> int:
    """The size of an archive whose directory is at its end, alone, and not too long to be read."""
    size = file.seek(0, io.SEEK_END)
    if size > LARGEST:
        raise ValueError(f"it has {size} bytes, of at most {LARGEST}")
    file.seek(max(0, size - END.size - LOCATOR))
    tail = file.read().rjust(END.size)
    before, last = tail[: -END.size], tail[-END.size :]
    mark, *disks, entries, length, start, comment = END.unpack(last)
    if mark != b"PK\5\6" or comment or disks[:2] != [0, 0] or disks[2] != entries:
        raise ValueError("it has no directory at its end: it is no archive, or cut off")
    if before.startswith(b"PK\6\7") or entries > MOST_MEMBERS or length > ENTRY * MOST_MEMBERS:
        raise ValueError(f"it has more than {MOST_MEMBERS} files")
    if start + length != size - END.size:
        raise ValueError("there is something else in it, before or behind its files")
    file.seek(0)
    return size


def _checked(members: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their names below its own folder."""
    if len(members) > MOST_MEMBERS:
        raise ValueError(f"it has more than {MOST_MEMBERS} files")
    files = {}
    for member in members:
        name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
        if member.is_dir() and member.file_size == 0 and MEMBER.fullmatch(f"{name}x.png"):
            continue
        if not MEMBER.fullmatch(name) or name != member.orig_filename:
            raise ValueError(f"'{printable(name)}' is not called like a file of a dictionary")
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"'{name}' is a link, or no file")
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"'{name}' is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"'{name}' is packed in a way that is not read here")
        files[name] = member
    homes = [PurePosixPath(name).parent for name in files if name.endswith(DICTIONARY)]
    home = min(homes, key=lambda path: len(path.parts), default=None)
    if home is None or len(home.parts) > 1:
        raise ValueError(f"there is no {DICTIONARY} in it")
    total = sum(member.file_size for member in files.values())
    if total > min(GROWTH * size + ROOM, LARGEST):
        raise ValueError(f"its {size} bytes would become {total}")
    folded = {name.casefold() for name in files}
    folders = {str(parent) for name in folded for parent in PurePosixPath(name).parents}
    if len(folded) != sum(not member.is_dir() for member in members) or folders & folded:
        raise ValueError("two of its files have one name")
    if any(home not in PurePosixPath(name).parents for name in files):
        raise ValueError(f"there are files in it beside the folder of its {DICTIONARY}")
    return {str(PurePosixPath(name).relative_to(home)): m for name, m in files.items()}


def _write(source: IO[bytes], target: Path, size: int) -> None:
    """Write a member, which has to have as many bytes as the archive says."""
    if target.suffix == ".csv":  # no text in a table of others is a formula
        table = io.TextIOWrapper(source, encoding="utf-8", newline="")
        write_csv(target, csv.reader(table, strict=True))
        return
    with target.open("xb") as sink:
        start = sink.write(policy().encode()) if target.suffix == ".html" else 0
        while chunk := source.read(1 << 20):
            sink.write(chunk)
        if sink.tell() - start != size:
            raise ValueError(f"'{target.name}' has another length than it says")
