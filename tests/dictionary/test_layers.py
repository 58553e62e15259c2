"""Dictionaries whose layers are not those of the models: one consistent in itself is not enough."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from safetensors.torch import load_file, save_file

from rosetta_lab.dictionary.mined import EMBEDDED, load_mined
from rosetta_lab.errors import RosettaError

Record = dict[str, Any]
NETWORK = "resnet_fashion"


def renamed(record: Record, statistics: dict[str, torch.Tensor], card: Record, new: str) -> None:
    """A layer under another name, in all places."""
    old = card["layers"][0]["name"]
    card["layers"][0]["name"] = new
    units = [neuron["generator"] for neuron in record["neurons"]]
    units += [u for neuron in record["neurons"] for u in neuron["matches"].get(NETWORK, [])]
    for unit in units:
        unit["layer"] = new if unit["layer"] == old else unit["layer"]
    for name in list(statistics):
        if name.startswith(f"{card['name']}/{old}/"):
            statistics[name.replace(old, new)] = statistics.pop(name)


def widened(record: Record, statistics: dict[str, torch.Tensor], card: Record) -> None:
    """Another layer of more units, in all places."""
    layer = card["layers"][0]
    layer["channels"] += 7
    for kind in ("mean", "var", "count"):
        name = f"{card['name']}/{layer['name']}/{kind}"
        statistics[name] = torch.cat([statistics[name], statistics[name][:7]])


CHANGES: dict[str, tuple[Callable[..., None], str]] = {
    "no such layer": (lambda r, s, c: renamed(r, s, c, "nowhere.1"), "'nowhere.1' is not there"),
    "its input": (lambda r, s, c: renamed(r, s, c, "no.1:input"), "'no.1:input' is not there"),
    "more units": (widened, r"has \d+ maps of .*, expected \d+ of"),
    "fewer units": (lambda r, s, c: c["layers"][-1].update(channels=1), "expected 1 of"),
    "other maps": (lambda r, s, c: c["layers"][0].update(height=3), "expected .* of 3 x"),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("model", ["generator", NETWORK])
def test_layers_that_the_models_do_not_have(model: str, name: str, tmp_path: Path) -> None:
    change, wanted = CHANGES[name]
    folder = tmp_path / "mined"
    folder.mkdir()
    record = json.loads((EMBEDDED / "dictionary.json").read_text())
    statistics = load_file(EMBEDDED / "statistics.safetensors")
    card = record["generator"] if model == "generator" else record["discriminative"][NETWORK]
    record["neurons"], record["concepts"] = [], []
    change(record, statistics, card)
    (folder / "dictionary.json").write_text(json.dumps(record))
    save_file(statistics, folder / "statistics.safetensors")
    with pytest.raises(RosettaError, match=rf"layers are not those .*{wanted}.*\n.*mine again"):
        load_mined(folder).models([NETWORK])


def test_a_command_says_it_in_two_lines(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "mined")
    path = tmp_path / "mined" / "dictionary.json"
    path.write_text(path.read_text().replace('"layer1.0"', '"nowhere"'))
    done = call("visualize", "dictionary=mined", "neuron=0", "seeds=[0]", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert "'nowhere' is not there" in done.stdout
