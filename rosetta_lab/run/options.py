"""Every command's options, from the configs of ``conf/`` and their comments.

A config's lines are ``key: value  # what it is``. Comments go on in the lines below, and one at
the margin heads what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from rosetta_lab.files import asset_root

HEADING = re.compile(r"# (?!@)(.*)")
MORE = re.compile(r" +# (.*)")
GROUP = re.compile(r"  - /?([a-z]\w*[\w/@.]*): (.*?)(?: +# (.*))?")
OPTION = re.compile(r"( *)\"?([a-z]\w*)\"?:(?: +([^# ].*?))?(?: +# (.*))?")
MACHINERY = ("defaults", "hydra", "datamodule", "module")  # keys of how a command is wired


class Option(NamedTuple):
    """A key of a config, or a group that it chooses from.

    Attributes:
        section: the heading above it.
        key: with dots.
        value: by default, as it is written; empty for a block.
        comment: what it is.
        group: it is chosen from the files of a folder.
    """

    section: str
    key: str
    value: str
    comment: str
    group: bool = False


def config_of(command: str) -> Path:
    """Where a command's config lies."""
    return asset_root() / "conf" / f"{command}.yaml"


def options(config: Path) -> list[Option]:
    """The options of a config, without what is Hydra's and what only the code reads."""
    found: list[Option] = []
    section, path = "", list[str]()
    for line in config.read_text(encoding="utf-8").splitlines()[len(head(config)) :]:
        if heading := HEADING.fullmatch(line):
            section = heading[1]
        elif (more := MORE.fullmatch(line)) and found:
            found[-1] = found[-1]._replace(comment=f"{found[-1].comment} {more[1]}".strip())
        elif group := GROUP.fullmatch(line):
            found.append(Option("", group[1], group[2], group[3] or "", group=True))
        elif option := OPTION.fullmatch(line):
            path = [*path[: len(option[1]) // 2], option[2]]
            found.append(Option(section, ".".join(path), option[3] or "", option[4] or ""))
    return list(_without_machinery(found))


def _without_machinery(found: Sequence[Option]) -> Iterator[Option]:
    for option in found:
        known = option.group or option.key.split(".")[0] not in MACHINERY
        if known and (option.value or option.comment):
            yield option


def head(config: Path) -> list[str]:
    """The comment that a config begins with."""
    lines = config.read_text(encoding="utf-8").splitlines()
    first = takewhile(lambda line: line.startswith("# "), lines)
    return [line.removeprefix("# ") for line in first if not line.startswith("# @")]


def explained(config: Path) -> list[Option]:
    """The same, where a section that is as of another command's takes its comments."""
    own = options(config)
    other = {option.key: option.comment for option in options(config_of("mine"))}
    return [
        option._replace(comment=option.comment or other.get(option.key, ""))
        if "rosetta_lab.mine" in option.section
        else option
        for option in own
    ]


def choices(group: str) -> list[str]:
    """Names of a group's members."""
    folder, root = group.split("@")[0], asset_root()
    return sorted(
        path.stem for top in (root / "conf", root) for path in top.glob(f"{folder}/*.yaml")
    )
