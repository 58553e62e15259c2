"""What a resumed run notes of itself: it replaces the former notes only once it is under way.

Hydra writes a run's configuration before the run begins. A run that is then refused, since the
folder holds results of other settings, must not leave its own settings there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rosetta_lab.run.resume import resumed_folder

NOTES, HELD = ".hydra", ".hydra/resumed"


def held_record(arguments: list[str]) -> list[str]:
    """Command-line arguments with which Hydra writes a resumed run's notes beside the former."""
    if resumed_folder(arguments) is None:
        return arguments
    return [*arguments, f"hydra.output_subdir={HELD}"]


def adopt_record(folder: Path) -> None:
    """Put the notes of the run that goes on in a folder in the place of the former, if need be."""
    if (folder / HELD).is_dir():
        for note in (folder / HELD).iterdir():
            os.replace(note, folder / NOTES / note.name)


def drop_record(folder: Path) -> None:
    """Forget the notes of a run that is refused, or that have been adopted."""
    shutil.rmtree(folder / HELD, ignore_errors=True)
