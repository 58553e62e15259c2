"""What ``--help`` prints: a command's examples, groups and options, as its config explains them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from rosetta_lab.run.options import Option, choices, config_of, explained, head
from rosetta_lab.run.terminal import width

ASKED = ("--help", "-h")
KEY = 26  # columns that keys and their values have
HYDRA = (
    ("--multirun", "run all of several values, as in k=1,3,5"),
    ("--cfg job", "print the whole configuration, and run nothing"),
    ("--config-dir DIR", "a folder with more configs, such as DIR/disc/my_model.yaml"),
    ("--hydra-help", "Hydra's other flags"),
)


def help_text(command: str, what: str) -> str:
    """The help of a command.

    Args:
        command: the name of its config.
        what: it does, in a line.
    """
    first, *examples = head(config_of(command))
    line, _, more = first.partition(": ")
    known = explained(config_of(command))
    parts = [_filled(" ".join(filter(None, (what, more))), "")]
    parts.append("\n".join(["Examples", *(f"  {text}" for text in (line, *examples))]))
    groups = [option for option in known if option.group]
    if groups:
        parts.append("\n".join(["Chosen by name, as GROUP=NAME", *map(_group, groups)]))
    keys = [option for option in known if not option.group]
    for section, members in groupby(keys, key=lambda option: option.section):
        parts.append("\n".join([section or "Options, as KEY=VALUE", *map(_option, members)]))
    parts.append("\n".join(["Flags", *(_entry(flag, said) for flag, said in HYDRA)]))
    return "\n\n".join(parts)


def _group(option: Option) -> str:
    names = ", ".join(choices(option.key))
    said = [option.comment, f"one of {names}" if names else ""]
    return _entry(f"{option.key.split('@')[0]}={option.value}", "; ".join(filter(None, said)))


def _option(option: Option) -> str:
    return _entry(f"{option.key}={option.value}", option.comment)


def _entry(key: str, said: str) -> str:
    """A key, and what it is, beside it or below it."""
    lines = _wrapped(said, KEY + 4)
    if len(key) <= KEY:
        return "\n".join([f"  {key:<{KEY}}  {lines[0] if lines else ''}".rstrip(), *lines[1:]])
    return "\n".join([*_broken(key), *(lines and [" " * (KEY + 4) + lines[0], *lines[1:]])])


def _wrapped(text: str, indent: int) -> Sequence[str]:
    """Lines of a text; those after the first are indented."""
    filled = textwrap.wrap(text, max(20, width() - indent), break_on_hyphens=False)
    return [*filled[:1], *(" " * indent + line for line in filled[1:])]


def _broken(key: str) -> Iterable[str]:
    """A long key and value, at commas."""
    filled = textwrap.wrap(key.replace(",", ", "), width() - 4, break_on_hyphens=False)
    return [f"  {line}" if place == 0 else f"    {line}" for place, line in enumerate(filled)]


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, width(), initial_indent=indent, subsequent_indent=indent)
