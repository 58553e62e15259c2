"""Image files in folders: which there are, what is passed over, what results are called."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rosetta_lab.errors import RosettaError

log = logging.getLogger("rosetta_lab")
# What is passed over in a folder.
OTHERS = "with names that do not end like an image's"
LINKED, DANGLING = "links to folders", "links to nothing"
SPECIAL, UNREADABLE = "pipes, sockets or devices", "folders that cannot be read"
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("png", "jpg", "jpeg", "jfif", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "avif"),
        *("jp2", "tga", "ico"),
    )
)


def is_image(file: Path) -> bool:
    """Whether a file is called like an image that can be read."""
    return file.suffix.lower() in SUFFIXES


def find_images(folder: Path, passed: Counter[str]) -> list[Path]:
    """Image files in a folder and its subfolders, sorted; hidden ones are left out.

    Links to files are followed, those to folders are not.

    Args:
        folder: where they are.
        passed: counts what is passed over, by the reason.

    Raises:
        RosettaError: there is no such folder.
    """
    if not folder.is_dir():
        raise RosettaError(f"{folder}: there is no such file or folder of images.")
    found: list[Path] = []
    for root, inner, names in os.walk(folder, onerror=lambda _: passed.update([UNREADABLE])):
        inner[:] = [name for name in inner if not name.startswith(".")]
        passed[LINKED] += sum(Path(root, name).is_symlink() for name in inner)
        for file in (Path(root, name) for name in names if not name.startswith(".")):
            reason = _passed_over(file)
            if reason is None:
                found.append(file)
            else:
                passed[reason] += 1
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _passed_over(file: Path) -> str | None:
    """Why a file is none of the images, None where it is one."""
    if not file.is_file():
        return DANGLING if file.is_symlink() and not file.exists() else SPECIAL
    return None if is_image(file) else OTHERS


def tell(folder: Path, passed: Counter[str]) -> None:
    """Say how much of a folder was passed over, and why."""
    if count := passed.total():
        listed = ", ".join(f"{some} {reason}" for reason, some in passed.items() if some)
        log.warning("%s: %d files are passed over: %s.", folder, count, listed)


def make_ids(paths: Sequence[Path]) -> list[str]:
    """Relative paths without suffixes, or with them where they would not be unique otherwise.

    They are names of folders that results are written to. So case does not tell them apart, and
    none is a folder in which another lies: beside ``a/b.png``, ``a.png`` keeps its suffix. What is
    not UTF-8 in a name is escaped.
    """
    whole = [os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths]
    ids = [name.removesuffix(Path(name).suffix) for name in whole]
    while True:
        count = Counter(name.casefold() for name in ids)
        folders = {parent.as_posix().casefold() for name in ids for parent in Path(name).parents}
        unique = [
            name if count[name.casefold()] == 1 and name.casefold() not in folders else path
            for name, path in zip(ids, whole, strict=True)
        ]
        if unique == ids:
            return ids
        ids = unique
