"""A dictionary from the hub, into a folder: ``python -m rosetta_lab.pull user/name``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError, printable, say
from rosetta_lab.files import path_of, unwritable
from rosetta_lab.pages.document import PAGE_NAME
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.archives import unpack
from rosetta_lab.run.shared import fetch, repository_of


@entry_point("pull", words=("repository", "out"))
def main(cfg: DictConfig) -> Path:
    if not cfg.repository:
        raise RosettaError(
            "pull: expected a repository.\nFor example: python -m rosetta_lab.pull user/name"
        )
    name = str(cfg.repository)
    repository, _ = repository_of(name)
    out = path_of(str(cfg.out or Path("outputs", "pull", repository.replace("/", "_"))))
    if out.exists():
        raise RosettaError(
            f"{printable(out)} is there already.\nName another folder: pull {repository} FOLDER"
        )
    dictionary = unpack_into(fetch(name), out)
    say(f"{dictionary}.")
    say(f"In {out}: take it with dictionary={out}, rl.load('{out}').")
    if (out / PAGE_NAME).is_file():
        say(f"Look at it: {(out / PAGE_NAME).resolve()}")
    return out


def unpack_into(archive: Path, out: Path) -> RosettaDictionary:
    """Unpack an archive into a new folder, which appears whole, with a dictionary that can be read,
    or not at all.

    Raises:
        RosettaError: the archive or its dictionary is refused, or the folder cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=out.parent) as temporary:
            folder = Path(temporary, "new")
            folder.mkdir()
            unpack(archive, folder)
            dictionary = RosettaDictionary.load(folder)
            shutil.move(folder, out)
    except OSError as error:
        raise unwritable(out, error) from error
    return dictionary


if __name__ == "__main__":
    main()
