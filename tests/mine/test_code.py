"""Tables are kept under the code of classes from outside, whatever file it is in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
from toy import ToyGenerator, ToyModel

from rosetta_lab.data.latents import Latents
from rosetta_lab.mine.cache import fingerprint
from rosetta_lab.mine.code import outside_code
from rosetta_lab.mine.null import Evidence
from rosetta_lab.models.observer import GeneratedImages, Observer

FILES = {
    "outside_model.py": (
        "from toy import ToyModel\nfrom outside_parts.mixing import mixed\nimport outside_other\n"
        "class Model(ToyModel):\n    def forward(self, x): return mixed(super().forward(x))\n"
        "def make(): return ToyModel()\n"
    ),
    "outside_parts/__init__.py": "",
    "outside_parts/mixing.py": "from . import numbers\ndef mixed(x): return numbers.FACTOR * x\n",
    "outside_parts/numbers.py": "FACTOR = 2\n",
    "outside_other.py": "UNUSED = 1\n",
    "outside_stranger.py": "NOBODY_IMPORTS = 1\n",
}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package of somebody's own."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("outside_stranger")
    yield importlib.import_module("outside_model")
    for name in [name for name in sys.modules if name.startswith("outside_")]:
        del sys.modules[name]


def key(model: Any, target: str) -> str:
    source = GeneratedImages(ToyGenerator(), ["late"], "toy")
    configs = {"disc": {"a": {"_target_": target}}}
    how = {"psi": 1.0, "correlation": "pooled", "configs": configs, "batch_size": 8}
    watch = Observer(source, {"a": model})
    return fingerprint(watch, Latents(30, 0, 12), evidence=Evidence(), **how)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["Model", "make"])
def test_a_change_of_code_is_another_run(
    name: str, kind: str, outside: Any, tmp_path: Path
) -> None:
    def now() -> str:
        return key(getattr(outside, kind)(), f"outside_model.{kind}")

    before = now()
    assert now() == before
    (tmp_path / name).write_text(FILES[name] + "# changed\n")
    assert (now() == before) == (name == "outside_stranger.py")


def test_versioned_packages_and_the_library_s_own_are_left_out() -> None:
    networks = [timm.create_model("test_resnet"), ToyModel()]
    found = outside_code(networks, {"a": {"_target_": "timm.create_model"}})
    assert "toy" in found
    tops = {name.partition(".")[0] for name in found}
    assert not tops & {"torch", "timm", "rosetta_lab", "abc", "typing", "collections"}
