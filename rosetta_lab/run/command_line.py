"""Command lines before Hydra reads them: what a run adds, and what Hydra would not look up."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rosetta_lab.errors import RosettaError, check_choice
from rosetta_lab.files import asset_root
from rosetta_lab.run.foreign import (
    LONGEST,
    TARGET,
    check_closed,
    check_values,
    is_download,
    own_sources,
    printable,
    read_json,
    read_yaml,
)

# Of lightning.Trainer's arguments, those that a resumed run may have added.
ADDED = ("benchmark", "detect_anomaly", "deterministic", "num_nodes", "precision")
NAME = re.compile(r"[A-Za-z0-9_-]+")


def resumed_folder(arguments: list[str]) -> str | None:
    """The folder that ``resume=FOLDER`` names; None where there is none."""
    folders = [a.removeprefix("resume=") for a in arguments if a.startswith("resume=")]
    return folders[-1] if folders and folders[-1] not in ("", "null") else None


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
    given = {argument.split("=")[0].lstrip("+~") for argument in arguments}
    then = read_yaml(record)
    if not isinstance(then, list) or not all(isinstance(word, str) for word in then):
        raise RosettaError(f"{record}: expected a list of a run's arguments.")
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
    if any(part.startswith("_") for part in parts):
        return "it names a class"
    if key == "trust_sources":
        return "only you can say whom you trust"
    if override.is_delete() or override.is_sweep_override():
        return "it is no key with a value"
    if override.is_add() and (len(parts) != 2 or parts[0] != "trainer" or parts[1] not in ADDED):
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


def zoo_arguments(config_name: str, arguments: list[str]) -> list[str]:
    """Command-line arguments, with the ``zoo=`` of the named dictionary's generator at their end.

    As an argument it goes before the config's own choice, and is recorded with the run.

    Raises:
        RosettaError: a sweep over dictionaries of several zoos.
    """
    given = {override.key_or_group: override for override in parse(arguments)}
    config: Any = OmegaConf.load(asset_root() / "conf" / f"{config_name}.yaml")
    has_zoo = any("zoo" in entry for entry in config.get("defaults", ()))
    if not has_zoo or "zoo" in given or "dictionary" not in given:
        return arguments
    named = given["dictionary"]
    several = named.sweep_iterator() if named.is_sweep_override() else [named.value()]
    zoos = {zoo_of(str(dictionary)) for dictionary in several}
    if len(zoos) > 1:
        raise RosettaError(
            f"dictionary={named.get_value_string()}: their generators are of several zoos.\n"
            f"Name the one to look with: zoo={' or zoo='.join(sorted(zoos))}."
        )
    return [*arguments, f"zoo={zoos.pop()}"]


def zoo_of(dictionary: str) -> str:
    """The ``zoo`` that a dictionary's generator names, ``paper`` where it names none."""
    if dictionary == "embedded":
        return dictionary
    path = Path(dictionary).expanduser()
    try:
        mined = read_json(path / "dictionary.json" if path.is_dir() else path)
        zoo = mined["config"]["gen"].get("zoo", "paper")
        return zoo if NAME.fullmatch(zoo) else "paper"  # it becomes an argument
    except (OSError, RosettaError, LookupError, TypeError, AttributeError):
        return "paper"  # whoever loads it tells what is wrong with it


def parse(arguments: list[str]) -> list[Override]:
    """The overrides of a command line; none where Hydra cannot read it, and will say why."""
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    try:
        return OverridesParser.create().parse_overrides(words)
    except OverrideParseException:
        return []


def outside_folders(arguments: list[str]) -> list[str]:
    """Folders with more configs: ``--config-dir=DIR``, ``hydra.searchpath=[file://DIR,...]``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    named = parser.parse_known_args(arguments)[0].config_dir
    paths = [o.value() for o in parse(arguments) if o.key_or_group == "hydra.searchpath"]
    listed = [str(path) for value in paths if isinstance(value, list) for path in value]
    return ([named] if named else []) + [path.removeprefix("file://") for path in listed]


def group_folders(override: Override, outside: list[str]) -> list[Path]:
    """Where the members of an override's group are; none for a plain key.

    Args:
        override: of a command line.
        outside: its :func:`outside_folders`.
    """
    group = override.key_or_group
    own = asset_root() / (group if group == "experiments" else f"conf/{group}")
    return [f for f in (own, *(Path(root) / group for root in outside)) if f.is_dir()]


def check_lists(arguments: list[str]) -> None:
    """Look every member of ``group=[NAME,...]`` up in its group.

    Of ``group=NAME`` Hydra says itself what there is to choose from; of a member of a list it says
    only that it cannot be loaded.

    Raises:
        RosettaError: the group has no such member.
    """
    outside = outside_folders(arguments)
    for override in parse(arguments):
        folders = group_folders(override, outside)
        if override.is_delete() or not folders:
            continue
        choices = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
        several = override.is_sweep_override()
        for value in override.sweep_iterator() if several else [override.value()]:
            for name in value if isinstance(value, list) else ():
                check_choice(override.key_or_group, str(name), choices)


def check_keys(config_name: str, arguments: list[str]) -> None:
    """Look every ``key=value`` up in the config that the command line's groups make.

    Hydra advises to add a key that is not there, and does not say which there are.

    Raises:
        RosettaError: there is no such key.
    """
    outside = outside_folders(arguments)
    groups, keys = [], []
    for override in parse(arguments):
        if group_folders(override, outside):
            sweep = override.is_sweep_override()
            value = next(override.sweep_iterator(Transformer.encode)) if sweep else None
            key = override.get_key_element()
            groups.append(f"{key}={value}" if sweep else str(override.input_line))
        elif override.is_add():
            groups.append(str(override.input_line))  # later keys may lie within it
        elif not override.key_or_group.startswith(("hydra.", "hydra/")):
            keys.append(override.key_or_group)
    if not keys:
        return
    if outside:
        places = [f"file://{path}" for path in (asset_root(), *map(os.path.abspath, outside))]
        groups.append(f"hydra.searchpath=[{','.join(places)}]")
    try:
        with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
            config = OmegaConf.to_container(hydra.compose(config_name, groups))
    except HydraException:
        return  # Hydra tells what is wrong with it
    for key in keys:
        place: Any = config
        for part in key.split("."):
            if not isinstance(place, dict):
                break
            if part not in place:
                near = difflib.get_close_matches(part, map(str, place))
                raise RosettaError(
                    f"{key}: there is no key '{part}'"
                    f"{'; did you mean ' + ' or '.join(near) if near else ''}.\n"
                    f"Choose from {', '.join(sorted(map(str, place)))}."
                )
            place = place[part]
