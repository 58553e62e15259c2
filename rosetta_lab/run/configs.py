"""Configs as plain values, what of them results depend on, where runs write, moved classes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from errno import EISDIR, ENOTDIR
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE, asset_root, path_of, unwritable
from rosetta_lab.run.addresses import hidden
from rosetta_lab.run.claims import claimed
from rosetta_lab.run.foreign import parse_yaml
from rosetta_lab.run.processes import is_first
from rosetta_lab.run.record import HELD

Configured = TypeVar("Configured", bound=DictConfig | ListConfig)

# Modules that stored recipes, runs and users' own configs may name, and where they are now.
MOVED = {
    "rosetta_lab.edits": "rosetta_lab.edit.edits",
    "rosetta_lab.data.fashion_targets": "rosetta_lab.data.fashion.targets",
    "rosetta_lab.sweep": "rosetta_lab.compare.sweep",
    "rosetta_lab.wandb_logger": "rosetta_lab.run.loggers",
}

# Keys of how a run is started, watched and wired: what it does stands elsewhere.
WATCHING = ("datamodule", "hydra", "logger", "module", "recipe", "resume", "trust_sources")
# Keys of how it keeps to memory, disk and processes.
HOW = ("batch_size", "disk", "memory", "row_blocks", "tables", "trainer")
# All keys on which no result depends (beyond rounding), but for PRECISION.
NO_RESULT = (*WATCHING, *HOW, "objective", "reference")
PRECISION = "trainer.precision"


def matters(key: str) -> bool:
    """Whether a result depends on a config's key, such as ``loss.l2``."""
    return key == PRECISION or key.split(".")[0] not in NO_RESULT


def run_folder(command: str, resume: str | None) -> str:
    """Where a run writes: ``outputs/<command>/<date>_<time>``, or the folder that it resumes.

    A new folder is made at once, so that no other run has the same.
    Processes that torchrun or SLURM started beside the first write nothing; their folder is a
    temporary one, so that a run with many processes leaves one run folder.
    """
    if resume:
        return str(path_of(str(resume)))
    if not is_first():
        return tempfile.mkdtemp(prefix="rosetta_lab_")
    name = f"outputs/{command}/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    for number in count(1):  # another run may have begun in this second
        folder = Path(name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(folder, error) from error
    return str(folder)


def check_room(config_name: str, arguments: list[str]) -> None:
    """See that a run can write into its folder, of which Hydra would tell with a traceback, and
    that no other run is at work there, whose notes Hydra would replace.

    Raises:
        RosettaError: it cannot, or one is.
    """
    own: Any = OmegaConf.load(asset_root() / "conf" / f"{config_name}.yaml")
    if "output_subdir" in own.hydra:  # none: the command only prints
        return
    named = [word.partition("=") for word in arguments]
    places = [value for key, _, value in named if key in ("hydra.run.dir", "hydra.sweep.dir")]
    places += [value for key, _, value in named if key == "resume" and value not in ("", "null")]
    for place in places or ["outputs"]:
        folder = path_of("outputs" if "${" in place else place.strip("'\""))
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=there) as file:
                file.write(bytes(1 << 14))
            _check_notes(config_name, folder)
        except OSError as error:
            raise unwritable(folder, error) from error
        if folder != path_of("outputs") and is_first():
            with claimed(folder):
                pass


def _check_notes(config_name: str, folder: Path) -> None:
    """Raise an OSError if Hydra could not write what it writes into a folder before a run."""
    notes = (f"{HELD}/{name}.yaml" for name in ("config", "hydra", "overrides"))
    for file in (folder / name for name in (*notes, f"{config_name}.log")):
        if file.is_dir():
            raise IsADirectoryError(EISDIR, f"{file.relative_to(folder)} in it is a folder")
        if file.parent.exists() and not file.parent.is_dir():
            raise NotADirectoryError(ENOTDIR, f"{HELD} in it is no folder")


def plain(value: Any) -> Any:
    """A config, or a value of one, as Python's own, interpolations resolved."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def unresolved(value: Any) -> Any:
    """A config, or a value of one, as Python's own, with interpolations as they are written."""
    return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value


def without(cfg: DictConfig, keys: Sequence[str]) -> DictConfig:
    """A copy of a config that lacks some of its keys."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in keys])


def same_results(one: str, other: str) -> bool:
    """Whether runs with these settings, in YAML, have the same results.

    Keys that another version knows, and that one of them lacks, are passed over.
    """
    try:
        found, expected = map(_decisive, (one, other))
    except RosettaError:  # of a file that is damaged, or no settings
        return one == other
    return all(found[key] == expected[key] for key in found.keys() & expected.keys())


def _decisive(settings: str) -> dict[str, Any]:
    found = all_moved(parse_yaml(settings, "settings"))
    if not isinstance(found, dict):
        raise RosettaError("settings: expected keys and values.")
    trainer = found.get("trainer")
    precision = trainer.get("precision") if isinstance(trainer, dict) else None
    return {key: value for key, value in found.items() if matters(str(key))} | {
        PRECISION: precision
    }


def all_moved(value: Any) -> Any:
    """Plain values in which every ``_target_`` names the present place of its class."""
    if isinstance(value, list):
        return [all_moved(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: moved(item) if key == "_target_" and isinstance(item, str) else all_moved(item)
        for key, item in value.items()
    }


def follow_moves(config: Configured) -> Configured:
    """A copy of a config in which every ``_target_`` names the present place of its class.

    Of addresses it has the public form, see :func:`rosetta_lab.run.addresses.hidden`.
    """
    found: Configured = config.copy()  # type: ignore[assignment]
    _follow(found, OmegaConf.to_container(found, resolve=False))
    return found


def moved(target: str) -> str:
    """The present name of a class."""
    module, _, name = target.rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else target


def _follow(config: Any, bare: Any) -> None:
    """Walk what is written in a config, without resolving it, and the config beside it."""
    if isinstance(bare, list):
        for place, value in enumerate(bare):
            _follow(config._get_node(place), value)
    elif isinstance(bare, dict):
        for key, value in bare.items():
            if key == "_target_" and moved(str(value)) != value:
                config[key] = moved(str(value))
            elif isinstance(value, str) and hidden(value) != value:
                config[key] = hidden(value)
            _follow(config._get_node(key), value)


OmegaConf.register_new_resolver("rosetta_run_dir", run_folder, use_cache=True, replace=True)
OmegaConf.register_new_resolver("rosetta_root", lambda: str(asset_root()), replace=True)
OmegaConf.register_new_resolver("rosetta_package", lambda: str(PACKAGE), replace=True)
