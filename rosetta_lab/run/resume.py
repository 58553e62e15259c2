"""Command lines of runs that are resumed, which may be anybody's: keys with plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import asset_root, path_of
from rosetta_lab.run.command_line import NAME, group_folders, outside_folders
from rosetta_lab.run.foreign import (
    LONGEST,
    TARGET,
    check_closed,
    check_links,
    check_values,
    is_download,
    own_sources,
    read_yaml,
)

# Of lightning.Trainer's arguments, those that a resumed run may have added.
ADDED = ("benchmark", "detect_anomaly", "deterministic", "num_nodes", "precision")


def resumed_folder(arguments: list[str]) -> str | None:
    """The folder that ``resume=FOLDER`` names; None where there is none."""
    folders = [a.removeprefix("resume=") for a in arguments if a.startswith("resume=")]
    named = folders[-1].strip("'\"") if folders else ""
    return None if named in ("", "null") else str(path_of(named))


def resumed_arguments(arguments: list[str]) -> list[str]:
    """Command-line arguments with those of the run that ``resume=FOLDER`` names before them.

    An argument given now replaces the one of the same name given then. The folder may be anybody's:
    see :func:`check_stored`.

    Raises:
        RosettaError: the folder is not a run folder, or holds arguments that are refused.
    """
    folder = resumed_folder(arguments)
    if folder is None:
        return arguments
    record = Path(folder) / ".hydra" / "overrides.yaml"
    if not record.is_file():
        raise RosettaError(
            f"resume={folder}: this is not a run folder (no .hydra/overrides.yaml in it).\n"
            "Name a folder such as outputs/mine/<date>_<time>."
        )
    check_links(Path(folder))
    given = {argument.split("=")[0].lstrip("+~") for argument in arguments}
    then = read_yaml(record)
    if not isinstance(then, list) or not all(isinstance(word, str) for word in then):
        raise RosettaError(f"{record}: expected a list of a run's arguments.")
    then = ["gen=null" if word == "~gen" else word for word in then]  # as Hydra records it
    kept = [word for word in then if word.split("=")[0].lstrip("+~") not in given]
    for word in kept:
        check_stored(word, outside_folders(arguments))
    return kept + arguments


def check_stored(word: str, outside: list[str]) -> None:
    """See that an argument of a run folder gives a key of the command a plain value, and no more.

    Whether there is such a key, :func:`check_keys` tells, as for the user's own.

    Raises:
        RosettaError: it adds something, names a class, has Hydra do something, refers to something
            outside, or would fetch weights that no config of the user's own names.
    """
    reason = _not_plain(word, outside)
    if reason is not None:
        raise RosettaError(
            f"resume: the stored argument '{printable(word)}' is refused: {reason}.\n"
            "If you gave it yourself, give it again: it goes before the stored one."
        )


def _not_plain(word: str, outside: list[str]) -> str | None:
    """What is wrong with a stored argument; None where nothing is."""
    if word.startswith("-") or "=" not in word or len(word) > LONGEST:
        return "it is no key with a value"
    if "${" in word:
        return "it refers to something else"
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except (OverrideParseException, RecursionError, ValueError):
        return "it cannot be read"
    key, group = override.get_key_element().lstrip("+~"), bool(group_folders(override, outside))
    name, _, package = key.partition("@")
    parts = re.split(r"[./]", f"{name}.{package}" if package else name)
    if parts[0] == "hydra" or package.startswith("hydra"):
        return "it is about Hydra, not about the run"
    if parts[0] == "logger" and len(parts) > 1:
        return "only you can say where a run is logged to"
    if any(part.startswith("_") for part in parts):
        return "it names a class"
    if key == "trust_sources":
        return "only you can say whom you trust"
    if override.is_delete() or override.is_sweep_override():
        return "it is no key with a value"
    adds = override.is_add() or override.is_force_add()
    if adds and (len(parts) != 2 or parts[0] != "trainer" or parts[1] not in ADDED):
        return "it adds a key"
    try:
        value = OmegaConf.to_container(OmegaConf.create({"value": override.value()}), resolve=False)
        check_values(value, word)
        check_closed(value, word)
    except (RosettaError, OmegaConfBaseException, ValueError):
        return "its value is not a plain one"
    texts = list(_texts(override.value()))
    if TARGET in texts:
        return "it names a class"
    if group and not all(NAME.fullmatch(text) for text in texts):
        return "there is no config of this name"
    fetched = [text for text in texts if is_download(text)]
    if fetched and not set(fetched) <= {url for _, url in own_sources()}:
        return "weights would be downloaded that no config of yours names"
    return None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)


def former_defaults(config_name: str, arguments: list[str]) -> list[str]:
    """Command-line arguments with the defaults before them that the run to be resumed had.

    What a config leaves to its defaults is part of a run's settings; they may have changed since.
    Only plain values of keys that the config itself has are taken, as :func:`check_stored` asks.
    """
    folder = resumed_folder(arguments)
    record = Path(folder or "") / ".hydra" / "config.yaml"
    if folder is None or not record.is_file():
        return arguments
    given = {argument.split("=")[0].lstrip("+~") for argument in arguments}
    then = read_yaml(record)
    if not isinstance(then, dict):
        raise RosettaError(f"{record}: expected a run's configuration.")
    own = OmegaConf.load(asset_root() / "conf" / f"{config_name}.yaml")
    now: Any = OmegaConf.to_container(own, resolve=False)
    changed = [
        f"{key}={json.dumps(then[key])}"
        for key, value in now.items()
        if key in then and key not in given and key != "resume" and then[key] != value
        if _is_plain(value) and _is_plain(then[key])
    ]
    outside = outside_folders(arguments)
    return [word for word in changed if _not_plain(word, outside) is None] + arguments


def _is_plain(value: object) -> bool:
    """Whether a config's value is one, and not made of others."""
    if isinstance(value, str):
        return value.replace("_", "").replace("+", "").isalnum()
    return value is None or isinstance(value, bool | int | float)
