"""A dictionary as one file: ``python -m rosetta_lab.export RUN out.zip``."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.errors import RosettaError, printable, say
from rosetta_lab.export.archive import write_archive
from rosetta_lab.files import path_of
from rosetta_lab.run.app import entry_point


@entry_point("export", words=("dictionary", "out"))
def main(cfg: DictConfig) -> Path:
    if not cfg.dictionary or not cfg.out or not str(cfg.out).endswith(".zip"):
        raise RosettaError(
            f"export {printable(cfg.dictionary)} {printable(cfg.out)}: expected a dictionary and a "
            "file to write.\nFor example: python -m rosetta_lab.export outputs/mine/<run> out.zip"
        )
    out = path_of(str(cfg.out))
    written = write_archive(dictionary_folder(str(cfg.dictionary)), out)
    say(f"{written.dictionary}.")
    say(f"{out}: {written.files} files, {written.size / 1e6:.1f} MB. {written.pages}")
    say(f"Take it anywhere: dictionary={out} in every command, rl.load('{out}') in Python.")
    return out


if __name__ == "__main__":
    main()
