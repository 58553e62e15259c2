"""A copy of stored runs as a stranger would share them, and how it is changed.

``evil.py`` lies in the folder, and in the path of modules: whoever imports it, or calls what it
has, leaves a marker.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rosetta_lab.errors import RosettaError

STORED = Path(__file__).parent / "stored"
NETWORK = "resnet_fashion"
Change = Callable[[dict[str, Any]], Any]


class Touch:
    """Whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of stored runs with a module beside them, where Python would find it."""
    shared = Path(shutil.copytree(STORED, tmp_path / "shared"))
    (shared / "evil.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'marker')!r}).touch()\n"
        "from rosetta_lab.models.generators.stylegan2 import StyleGAN2\n"
        "class Evil(StyleGAN2): pass\n"
    )
    (shared / "evil.pth").write_bytes(pickle.dumps(Touch(tmp_path / "marker")))
    monkeypatch.chdir(shared)
    monkeypatch.syspath_prepend(str(shared))
    monkeypatch.delitem(sys.modules, "evil", raising=False)  # whoever imports it again leaves one
    monkeypatch.setenv("SECRET", "s3cr3t")
    monkeypatch.setenv("KIND", "evil.Evil")
    return shared


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path) -> Any:
    yield
    assert not (tmp_path / "marker").exists()


def change(path: Path, how: Change) -> None:
    record = json.loads(path.read_text())
    how(record)
    path.write_text(json.dumps(record))


def refusal(error: pytest.ExceptionInfo[RosettaError]) -> str:
    """The message, which has at most two lines and no secret in it."""
    text = str(error.value)
    assert len(text.splitlines()) <= 2
    assert "s3cr3t" not in text
    return text


def model(**options: Any) -> Change:
    """A change of the dictionary's model."""
    return lambda record: record["config"]["disc"].update(
        {NETWORK: record["config"]["disc"][NETWORK] | options}
    )
