"""A run folder belongs to one run at a time, which finds nothing half-written in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import UNFINISHED


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder, if there is one; the system lets it go when the process ends, however it does.

    Where the system cannot (on some network drives), nothing is held.

    Raises:
        RosettaError: another run holds it.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # not a Unix; no such folder, of which others tell
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RosettaError(
                f"{folder}: another run is at work in this folder.\n"
                "Wait until it has ended, or choose another folder (hydra.run.dir=FOLDER)."
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a run which was killed has left; the folder is ours."""
    for place, _, names in os.walk(folder):
        for name in filter(UNFINISHED.fullmatch, names):
            with suppress(OSError):
                Path(place, name).unlink()
