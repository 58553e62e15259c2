"""One byte of what a run wrote is changed, many times over: the same result, or two lines."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import load_tensors, save_tensors
from rosetta_lab.invert.latent_files import metadata, read_latents
from rosetta_lab.models.generators.dcgan import DCGAN

STORED = Path(__file__).parents[1] / "stored/mined"
NETWORK = "resnet_fashion"
Read = Callable[[Path], Any]


def dictionary(folder: Path) -> Path:
    """A run's dictionary, as it is written today."""
    shutil.copytree(STORED, folder, dirs_exist_ok=True)
    found = RosettaDictionary.load(folder)
    found.neurons, found.concepts = found.neurons[:4], []
    for neuron in found.neurons:
        neuron.concept = -1
    pairs = len(found.buddies[NETWORK])
    found.evidence = {NETWORK: {"q": torch.rand(pairs), "decoys": torch.zeros(3, 2).long()}}
    return found.save(folder)


def beside(name: str, folder: Path) -> Path:
    return dictionary(folder).with_name(name)


def statistics(folder: Path) -> Path:
    shutil.copytree(STORED, folder, dirs_exist_ok=True)
    path = folder / "statistics.safetensors"
    save_tensors(path, load_tensors(path)[0])
    return path


def generator() -> DCGAN:
    torch.manual_seed(0)
    made = DCGAN(z_dim=4, channels=(2,), kernel_sizes=(4, 4))
    made.sha256 = "ab" * 32
    return made


def latents(folder: Path) -> Path:
    path = folder / "latent.safetensors"
    save_tensors(path, {"latent": torch.randn(1, 4)}, metadata(generator(), "z"))
    return path


def all_of_it(path: Path) -> Any:
    found = RosettaDictionary.load(path.parent)
    tensors = {"buddies": found.buddies, **found.evidence}
    return found.to_json(), {
        f"{key}/{name}": values.tolist()
        for key, own in tensors.items()
        for name, values in own.items()
    }


def numbers(path: Path) -> Any:
    found = load_statistics(path.parent, NETWORK)
    assert found
    return {name: (mean.tolist(), var.tolist()) for name, (mean, var) in found.items()}


def stored_latents(path: Path) -> Any:
    stored = read_latents(generator(), path)
    return stored.latent.tolist(), stored.class_weights, stored.space


FILES: dict[str, tuple[Callable[[Path], Path], Read]] = {
    "dictionary": (dictionary, all_of_it),
    "best buddies": (partial(beside, "best_buddies.safetensors"), all_of_it),
    "evidence": (partial(beside, "evidence.safetensors"), all_of_it),
    "statistics": (statistics, numbers),
    "latents": (latents, stored_latents),
}


def outcome(read: Read, path: Path) -> Any:
    """What is read, or what the error says."""
    try:
        return read(path)
    except RosettaError as error:
        return str(error)


def try_many(name: str, count: int, folder: Path) -> None:
    make, read = FILES[name]
    path = make(folder)
    data, expected = path.read_bytes(), read(path)
    source = random.Random(0)
    refused = 0
    for _ in range(count):
        changed = bytearray(data)
        changed[source.randrange(len(data))] ^= source.randrange(1, 256)
        path.write_bytes(changed)
        found = outcome(read, path)
        if isinstance(found, str):
            assert len(found.splitlines()) <= 2
            refused += 1
        else:
            assert found == expected, "another result, without a word"
    assert refused > count // 2
    path.write_bytes(data)
    assert read(path) == expected


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    try_many(name, 30, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_changed_bytes(name: str, tmp_path: Path) -> None:
    try_many(name, 500, tmp_path)


def test_a_dictionary_that_was_changed_by_hand(tmp_path: Path) -> None:
    """It is refused as long as it says that it was not."""
    path = dictionary(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"seed": 0', '"seed": 7'))
    with pytest.raises(RosettaError, match="Take its key 'sha256' out") as error:
        RosettaDictionary.load(tmp_path)
    assert len(str(error.value).splitlines()) == 2
    lines = text.replace('"seed": 0', '"seed": 7').splitlines()
    (digest,) = (line for line in lines if '"sha256"' in line and line.startswith(' "'))
    place = lines.index(digest)
    assert place == len(lines) - 2  # the last key
    path.write_text("\n".join([*lines[: place - 1], lines[place - 1].rstrip(","), "}"]))
    assert RosettaDictionary.load(tmp_path).seed == 7
