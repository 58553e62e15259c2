"""The cache folder: private, and safe from several processes at a time.

What lies there is used on later runs, so nobody else may put anything there: our own folders are
for this user alone, links are not followed, and every file's SHA-256 is recorded when it is made.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write, unwritable

log = logging.getLogger(__name__)

PRIVATE = 0o700


def is_offline() -> bool:
    """Whether the network is not to be used: ``ROSETTA_OFFLINE`` or ``HF_HUB_OFFLINE``."""
    values = (os.environ.get(name, "") for name in ("ROSETTA_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in {"1", "true", "yes", "on"} for value in values)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def private(target: Path, cache: Path) -> Path:
    """``target``, a file to be below ``cache``, whose folders are made where they are missing.

    Raises:
        RosettaError: they cannot be made, or belong to somebody else, or others may write there.
    """
    below = [folder for folder in target.parents if cache in folder.parents]
    for folder in (cache, *reversed(below)):
        try:
            folder.mkdir(PRIVATE, parents=True, exist_ok=True)
            _check_private(folder, made_by_us=folder is not cache)
        except OSError as error:
            raise unwritable(folder, error) from error
    for path in (target, target.with_name(target.name + ".part"), _lock_path(target)):
        with suppress(OSError):
            if path.is_symlink():
                path.unlink()
    return target


def _check_private(folder: Path, made_by_us: bool) -> None:
    """Raise unless ``folder`` is one, of this user or the administrator, and of nobody else.

    Args:
        folder: the cache, which may be a link and open to a group; or one of ours below it.
        made_by_us: close it to everybody else.
    """
    info = folder.lstat() if made_by_us else folder.stat()
    if not stat.S_ISDIR(info.st_mode):
        raise _not_private(folder, "it is no folder, or a link")
    if hasattr(os, "geteuid") and info.st_uid not in (os.geteuid(), 0):
        raise _not_private(folder, "it belongs to another user")
    open_to = stat.S_IWOTH
    if made_by_us:
        open_to |= stat.S_IWGRP
        with suppress(OSError):  # of no consequence where nobody can write anyway
            if stat.S_IMODE(info.st_mode) & ~PRIVATE:
                folder.chmod(PRIVATE)
            info = folder.lstat()
    if info.st_mode & open_to and not info.st_mode & stat.S_ISVTX:
        raise _not_private(folder, "others may write there")


def _not_private(folder: Path, why: str) -> RosettaError:
    return RosettaError(
        f"refused: {folder} cannot be the cache: {why}.\nSet ROSETTA_CACHE to a folder of your own."
    )


def record_digest(path: Path, digest: str) -> None:
    """Keep the SHA-256 of ``path`` beside it, as ``sha256sum`` writes it."""
    atomic_write(_record_path(path), f"{digest}  {path.name}\n".encode())


def recorded_digest(path: Path) -> str | None:
    """The SHA-256 of a file of the cache; None where it is not there or not as it was made."""
    if not path.is_file() or path.is_symlink():
        return None
    with suppress(OSError, IndexError, UnicodeDecodeError):
        return _record_path(path).read_text().split()[0]
    return None


def intact(path: Path) -> bool:
    """Whether a file of the cache is there and as it was made."""
    expected = recorded_digest(path)
    if expected and sha256_of(path) != expected:
        log.warning("%s is damaged; making it anew", path)
        return False
    return expected is not None


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of ``target``; one process at a time.

    The operating system drops the lock of a process that dies, so nothing has to be cleaned up.

    Raises:
        RosettaError: the folder cannot be written to.
    """
    lock = FileLock(_lock_path(target))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process to finish %s", target.name)
            lock.acquire()
    except OSError as error:
        raise unwritable(target.parent, error) from error
    try:
        yield
    finally:
        lock.release()
