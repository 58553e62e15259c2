"""Command lines before Hydra reads them: what a run adds, and what Hydra would not look up."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from rosetta_lab.errors import RosettaError, check_choice, printable
from rosetta_lab.files import SHIPPED, asset_root, path_of
from rosetta_lab.run.foreign import read_json
from rosetta_lab.run.shared import dictionary_place

# Of Hydra's options, those whose value may be the next word.
OPTIONS = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p")
NAME = re.compile(r"[A-Za-z0-9_-]+")


def at_home(arguments: list[str]) -> list[str]:
    """Command-line arguments with the user's home for ``~`` where a path begins.

    Shells leave it as it is behind ``key=``, and Hydra cannot read it.
    """
    home = os.path.expanduser("~")
    return [re.sub(r"(?<=[=\[,])~(?=/)", lambda _: home, word) for word in arguments]


def with_keys(arguments: list[str], keys: Sequence[str]) -> list[str]:
    """Command-line arguments with the keys of words that stand alone before them, in their order.

    Such a word is a path or a name, and is taken as it is.
    """
    left, found = list(keys), []
    for before, word in zip(["", *arguments], arguments, strict=False):
        alone = "=" not in word and not word.startswith(("-", "~")) and before not in OPTIONS
        if left and alone:
            quoted = re.sub(r"(\\*)'", lambda m: 2 * m[1] + "\\'", word)
            quoted = re.sub(r"(\\+)$", lambda m: 2 * m[1], quoted)
            word = f"{left.pop(0)}='{quoted}'"
        found.append(word)
    return found


def zoo_arguments(config_name: str, arguments: list[str]) -> list[str]:
    """Command-line arguments, with the ``zoo=`` of the named dictionary's generator at their end.

    Of several dictionaries, the first counts.

    As an argument it goes before the config's own choice, and is recorded with the run.

    Raises:
        RosettaError: a sweep over dictionaries of several zoos.
    """
    given = {override.key_or_group: override for override in parse(arguments)}
    config: Any = OmegaConf.load(asset_root() / "conf" / f"{config_name}.yaml")
    has_zoo = any("zoo" in entry for entry in config.get("defaults", ()))
    named = given.get("dictionary") or given.get("dictionaries")
    if not has_zoo or "zoo" in given or named is None:
        return arguments
    several = named.sweep_iterator() if named.is_sweep_override() else [named.value()]
    first = (some[0] if isinstance(some, list) and some else some for some in several)
    zoos = {zoo_of(str(dictionary)) for dictionary in first}
    if len(zoos) > 1:
        raise RosettaError(
            f"{named.key_or_group}={named.get_value_string()}: their generators are of several "
            f"zoos.\n"
            f"Name the one to look with: zoo={' or zoo='.join(sorted(zoos))}."
        )
    return [*arguments, f"zoo={zoos.pop()}"]


def zoo_of(dictionary: str) -> str:
    """The ``zoo`` that a dictionary's generator names, ``paper`` where it names none."""
    if dictionary in SHIPPED:
        return "embedded"
    try:
        path = dictionary_place(dictionary)
        mined = read_json(path / "dictionary.json" if path.is_dir() else path)
        zoo = mined["config"]["gen"].get("zoo", "paper")
        return zoo if NAME.fullmatch(zoo) else "paper"  # it becomes an argument
    except (OSError, RosettaError, LookupError, TypeError, AttributeError):
        return "paper"  # whoever loads it tells what is wrong with it


def parse(arguments: list[str]) -> list[Override]:
    """The overrides of a command line; none where Hydra cannot read it, and will say why."""
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    try:
        return [parse_word(word) for word in words]
    except OverrideParseException:
        return []


@cache
def parse_word(word: str) -> Override:
    """One override, which takes Hydra milliseconds to read, and is asked for often.

    Raises:
        OverrideParseException: Hydra cannot read it.
    """
    (override,) = OverridesParser.create().parse_overrides([word])
    return override


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
    places = (own, *(Path(root) / group for root in outside))
    return [place for place in places if os.path.isdir(place)]  # none where a name is too long


def empty_lists(config_name: str, arguments: list[str]) -> list[str]:
    """Command-line arguments with [] for null where a group has a list of members, as loggers."""
    own = OmegaConf.load(asset_root() / "conf" / f"{config_name}.yaml")
    config: Any = OmegaConf.to_container(own, resolve=False)
    groups = {
        group
        for entry in config.get("defaults", ())
        if isinstance(entry, dict)
        for group, members in entry.items()
        if isinstance(members, list)
    }
    nothing = {f"{group}={value}": f"{group}=[]" for group in groups for value in ("null", "")}
    return [nothing.get(word, word) for word in arguments]


def image_folders(arguments: list[str]) -> list[str]:
    """Command-line arguments with ``images=PATH`` for ``data=PATH`` of a file or folder.

    A config of ``data`` goes before a folder of its name; ``data=./NAME`` is a folder's.
    """
    outside = outside_folders(arguments)
    found = []
    for word in arguments:
        override = next(iter(parse([word])), None)
        if override is not None and override.key_or_group == "data" and word.startswith("data="):
            value = None if override.is_sweep_override() else override.value()
            folders = group_folders(override, outside)
            named = {path.stem for folder in folders for path in folder.glob("*.yaml")}
            if isinstance(value, str) and value not in named and path_of(value).exists():
                word = word.replace("data=", "images=", 1)
        found.append(word)
    return found


def left_out(arguments: list[str], optional: Sequence[str]) -> list[str]:
    """Command-line arguments with ``~group``, as Hydra calls it, for null where it is a choice."""
    nothing = {f"{group}=null": f"~{group}" for group in optional}
    return [nothing.get(word, word) for word in arguments]


def check_words(arguments: list[str]) -> None:
    """See that every word is an option, or a key with a value that Hydra can read.

    Raises:
        RosettaError: one is not.
    """
    for before, word in zip(["", *arguments], arguments, strict=False):
        if word.startswith("-") or before in OPTIONS or re.fullmatch(r"~[^=]+", word):
            continue
        try:
            readable = bool(parse_word(word).key_or_group)
        except (OverrideParseException, ValueError):
            readable = False
        if not readable:
            raise RosettaError(
                f"{printable(word)}: cannot be read.\nExpected key=value, as in k=5 or "
                "classes=[1,2]; put a value with other signs in quotes, as in 'key=\"a (b)\"'."
            )


def check_groups(arguments: list[str]) -> None:
    """Look the members that ``group=NAME`` or ``group=[NAME,...]`` name up in their group.

    Of a member of a list Hydra says only that it cannot be loaded, of null nothing that helps.

    Raises:
        RosettaError: the group has no such member.
    """
    outside = outside_folders(arguments)
    for override in parse(arguments):
        folders = group_folders(override, outside)
        if override.is_delete() or not folders or override.key_or_group.startswith("hydra/"):
            continue
        choices = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
        several = override.is_sweep_override()
        for value in override.sweep_iterator() if several else [override.value()]:
            for name in value if isinstance(value, list) else [value]:
                named = "null" if name is None else str(name).removesuffix(".yaml")
                if not any((folder / f"{named}.yaml").is_file() for folder in folders):
                    check_choice(override.key_or_group, named, choices)


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
        config = composed(config_name, tuple(groups))
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


@cache
def composed(config_name: str, groups: tuple[str, ...]) -> Any:
    """The config that a command line's groups make, in plain containers; it takes a third of a
    second, and is the same for the same words.

    Raises:
        HydraException: they make none.
    """
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        return OmegaConf.to_container(hydra.compose(config_name, list(groups)))
