"""The cache folder, and what keeps several processes from getting in each other's way there."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import cache_folder

log = logging.getLogger(__name__)


def cache_dir(cache: Path | None = None) -> Path:
    """Where files are kept: ``cache``, ``$ROSETTA_CACHE`` or ~/.cache/rosetta_lab."""
    return (cache or cache_folder()).expanduser()


def is_offline(offline: bool | None = None) -> bool:
    """``offline`` where given, otherwise ``ROSETTA_OFFLINE`` or ``HF_HUB_OFFLINE``."""
    if offline is not None:
        return offline
    values = (os.environ.get(name, "") for name in ("ROSETTA_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in {"1", "true", "yes", "on"} for value in values)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of ``target``; one process at a time.

    The operating system drops the lock of a process that dies, so nothing has to be cleaned up.

    Raises:
        RosettaError: the folder cannot be written to.
    """
    lock = FileLock(target.with_name(target.name + ".lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process to finish %s", target.name)
            lock.acquire()
    except OSError as error:
        raise RosettaError(
            f"cannot write to the cache folder {target.parent}: {error.strerror}.\n"
            "Set ROSETTA_CACHE to a folder of your own."
        ) from error
    try:
        yield
    finally:
        lock.release()
