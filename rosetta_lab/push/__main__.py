"""A dictionary to a dataset repository of the hub: ``python -m rosetta_lab.push RUN user/name``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.export.archive import write_archive
from rosetta_lab.push.hub import card, check_login, upload
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.shared import HUB, ON_HUB, repository_of


@entry_point("push", words=("dictionary", "repository"))
def main(cfg: DictConfig) -> str:
    if not cfg.dictionary or not cfg.repository:
        raise RosettaError(
            "push: expected a dictionary and a repository.\n"
            "For example: python -m rosetta_lab.push outputs/mine/<run> user/name"
        )
    repository, revision = repository_of(str(cfg.repository))
    if revision is not None:
        raise RosettaError(
            f"{cfg.repository}: what is pushed becomes the newest state.\nLeave @{revision} out."
        )
    check_login()
    folder = dictionary_folder(str(cfg.dictionary))
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary, f"{repository.rpartition('/')[2]}.zip")
        written = write_archive(folder, archive)
        address = upload(repository, archive, card(folder, repository), cfg.private)
    say(f"{written.dictionary}.")
    say(f"{ON_HUB}, {written.size / 1e6:.1f} MB, is at {address}")
    say(f"Others take it: dictionary={HUB}{repository}, or python -m rosetta_lab.pull {repository}")
    return address


if __name__ == "__main__":
    main()
