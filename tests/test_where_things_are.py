"""CONTRIBUTING's page of the three ways: every file and name that it lists is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WAYS = PAGE.split("## Where things are", 1)[1].split("\n## ", 1)[0]


def listed() -> list[tuple[str, str]]:
    """Files and the names that follow them."""
    found, file = [], ""
    for line in WAYS.splitlines():
        if line.startswith("- "):
            for word in re.findall(r"`([^`]+)`", line):
                if word.endswith(".py"):
                    file = word
                else:
                    found.append((file, word))
    return found


@pytest.mark.parametrize(("file", "name"), listed())
def test_it_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "rosetta_lab" / file).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.ClassDef
    assert name in {node.name for node in tree.body if isinstance(node, kinds)}


def test_every_room_is_listed() -> None:
    rooms = {
        path.name for path in (ROOT / "rosetta_lab").iterdir() if (path / "__init__.py").is_file()
    }
    block = WAYS.split("`python -m", 1)[0]
    assert rooms == set(re.findall(r"\b(\w+)/", block))
    commands = {path.parent.name for path in (ROOT / "rosetta_lab").glob("*/__main__.py")}
    assert len((rooms - commands) | {"errors", "files"}) <= 12
    assert len(listed()) > 40
