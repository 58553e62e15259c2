"""The file that a dictionary is shared as: its folder, without what is this machine's alone."""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosetta_lab.dictionary.record import DIGEST, digest_of
from rosetta_lab.dictionary.schema import FILE_NAME, RosettaDictionary
from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.export.private import in_page, told, without_places
from rosetta_lab.files import replacing
from rosetta_lab.mine.page.concepts import ATLAS
from rosetta_lab.pages.document import PAGE_NAME
from rosetta_lab.run.archives import LARGEST, MEMBER, MOST_MEMBERS
from rosetta_lab.run.foreign import check_links, read_json

NAMES = "names.json"  # of its concepts, with the digest of their dictionary
BESIDE = (PAGE_NAME, "matches.csv", "cliques.csv", NAMES)
FOLDERS = ("page", ATLAS)  # of pictures and further pages
PACKED_ALREADY = {".webp", ".png", ".jpg"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that an archive can tell: the same run, the same bytes


@dataclass(frozen=True)
class Written:
    """What an archive holds.

    Attributes:
        dictionary: in words.
        files: how many.
        size: of all of them together, packed, in bytes.
        pages: what there is to look at, in words.
    """

    dictionary: str
    files: int
    size: int
    pages: str


def write_archive(source: Path, out: Path) -> Written:
    """Write a dictionary's archive, whole or not at all.

    It holds what others need to use the dictionary and to look at it: the dictionary, every tensor
    beside it, its page and atlas. It holds no notes, logs and tables of its run, and no place of
    this machine: of files that lie outside the package only the names stay.

    Args:
        source: a folder of rosetta_lab.mine, or the JSON file in it.
        out: the file to write.

    Raises:
        RosettaError: there is no dictionary, or something in it tells of this machine.
    """
    dictionary = RosettaDictionary.load(source)
    folder = source if source.is_dir() else source.parent
    check_links(folder)
    stored = read_json(folder / FILE_NAME)
    record, places = without_places(stored)
    if DIGEST in record:
        record[DIGEST] = digest_of(record)
    RosettaDictionary.from_json(record)
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    if len(names) > MOST_MEMBERS or sum((folder / x).stat().st_size for x in names) > LARGEST:
        raise RosettaError(
            f"{printable(folder)}: {len(names)} files are too much for one file.\n"
            f"Expected at most {MOST_MEMBERS}, and {LARGEST >> 30} GB: mine with a smaller k."
        )
    top = re.sub(r"[^A-Za-z0-9_-]", "_", out.stem)[:100] or "dictionary"
    with (
        replacing(out) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, allowZip64=False) as archive,
    ):
        for name in names:
            data = (folder / name).read_bytes()
            if name == FILE_NAME:
                data = (json.dumps(record, indent=1) + "\n").encode()
            elif name == NAMES and DIGEST in record:
                data = data.replace(stored[DIGEST].encode(), record[DIGEST].encode())
            elif name.endswith(".html"):
                data = in_page(data.decode(), places).encode()
            if found := told(name, data, places):
                raise RosettaError(
                    f"{printable(folder / name)} tells of this machine: '{printable(found)}'; "
                    f"{printable(out)} is not written.\nMine again with paths that may be told."
                )
            archive.writestr(_member(f"{top}/{name}"), data)
    pages = f"Unpacked, {top}/{PAGE_NAME} opens in a browser."
    pages = pages if PAGE_NAME in names else f"There is no {PAGE_NAME} in it to look at."
    return Written(str(dictionary), len(names), out.stat().st_size, pages)


def _files(folder: Path) -> Iterator[Path]:
    """A dictionary's own files in its folder."""
    found = [folder / name for name in (FILE_NAME, *BESIDE)]
    found += folder.glob("*.safetensors")
    for inner in FOLDERS:
        found += (folder / inner).rglob("*")
    for path in found:
        if path.is_file() and MEMBER.fullmatch(path.relative_to(folder).as_posix()):
            yield path


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, EPOCH)
    member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    stored = Path(name).suffix in PACKED_ALREADY
    member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    return member
