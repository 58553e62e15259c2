"""One byte of a small checkpoint is changed, in every format, many times over.

What is promised: an error of two lines, or the same weights. A format without a checksum of its own
cannot tell one number from another; there, other numbers may come out, but only for the same
network, and never where the file's SHA-256 is known.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_checks import private
from checkpoint_files import EasyDict, Network, nvlabs_network, nvlabs_pickle, tensorflow_pickle
from hostile import torch_file
from safetensors.torch import save
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import Weights, load_into, load_weights

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")

STATE = {
    "conv.weight": torch.arange(6.0).reshape(2, 3),
    "norm.num_batches_tracked": torch.tensor(7),
    "norm.weight": torch.ones(3, dtype=torch.float16),
}
SYNTHESIS = {
    **{f"synthesis.b4.conv1.{name}": torch.ones(2) for name in ("bias", "affine.bias")},
    "synthesis.b4.conv1.weight": torch.arange(36.0).reshape(2, 2, 3, 3),
    "synthesis.b4.conv1.affine.weight": torch.ones(2, 2),
    "synthesis.b4.conv1.noise_const": torch.ones(4, 4),
    "synthesis.b4.conv1.noise_strength": torch.tensor(0.5),
    "synthesis.b4.torgb.weight": torch.ones(3, 2, 1, 1),
    "synthesis.b4.torgb.bias": torch.ones(3),
    "synthesis.b4.torgb.affine.weight": torch.ones(2, 2),
    "synthesis.b4.torgb.affine.bias": torch.ones(2),
    "synthesis.b4.const": torch.ones(2, 4, 4),
    "mapping.fc0.weight": torch.ones(2, 2),
    "mapping.fc0.bias": torch.ones(2),
    "mapping.w_avg": torch.zeros(2),
}
KWARGS = {"z_dim": 2, "c_dim": 0, "w_dim": 2, "img_resolution": 4, "img_channels": 3}


def nvlabs(protocol: int) -> bytes:
    network = nvlabs_network(SYNTHESIS, ["mapping.w_avg"], _init_kwargs=EasyDict(KWARGS))
    data = nvlabs_pickle(network, protocol)
    return data.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def tensorflow() -> bytes:
    layers = {"4x4/Conv": "synthesis.b4.conv1", "4x4/ToRGB": "synthesis.b4.torgb"}
    synthesis: list[tuple[str, Any]] = [("noise0", np.ones((1, 1, 4, 4), np.float32))]
    synthesis += [("4x4/Const/const", np.ones((1, 2, 4, 4), np.float32))]
    synthesis += [("4x4/Conv/noise_strength", np.float32(0.5))]
    for name, ours in layers.items():
        weight = SYNTHESIS[f"{ours}.weight"].permute(2, 3, 1, 0)
        synthesis += [
            (f"{name}/weight", weight.contiguous().numpy()),
            (f"{name}/bias", SYNTHESIS[f"{ours}.bias"].numpy()),
            (f"{name}/mod_weight", np.ones((2, 2), np.float32)),
            (f"{name}/mod_bias", np.zeros(2, np.float32)),
        ]
    dense = [
        ("Dense0/weight", np.ones((2, 2), np.float32)),
        ("Dense0/bias", np.ones(2, np.float32)),
    ]
    parts = {"synthesis": synthesis, "mapping": dense}
    state = {
        "version": 4,
        "build_func_name": "G_main",
        "static_kwargs": {"resolution": 4, "latent_size": 2, "dlatent_size": 2},
        "components": {key: Network({"variables": value}) for key, value in parts.items()},
        "variables": [("dlatent_avg", np.zeros(2, np.float32))],
    }
    return tensorflow_pickle(Network(state))


def rosinality(zipped: bool) -> bytes:
    state = {
        "input.input": torch.ones(1, 2, 4, 4),
        "style.1.weight": torch.ones(2, 2),
        "style.1.bias": torch.ones(2),
        "conv1.conv.weight": torch.arange(36.0).reshape(1, 2, 2, 3, 3),
        "conv1.conv.modulation.weight": torch.ones(2, 2),
        "conv1.conv.modulation.bias": torch.ones(2),
        "conv1.noise.weight": torch.ones(1),
        "conv1.activate.bias": torch.ones(2),
        "to_rgb1.conv.weight": torch.ones(1, 3, 2, 1, 1),
        "to_rgb1.conv.modulation.weight": torch.ones(2, 2),
        "to_rgb1.conv.modulation.bias": torch.ones(2),
        "to_rgb1.bias": torch.ones(1, 3, 1, 1),
        "noises.noise_0": torch.ones(1, 1, 4, 4),
    }
    return torch_file({"g_ema": state, "latent_avg": torch.zeros(2)}, zipped=zipped)


def biggan() -> bytes:
    names = ("embeddings.weight", "generator.gen_z.weight_orig", "generator.gen_z.weight_u")
    return torch_file({name: torch.ones(2, 2) for name in names}, zipped=True)


def converted() -> bytes:
    return save(SYNTHESIS, {"config": json.dumps(KWARGS), "family": "stylegan2", "source": "x"})


# Whether a format has a checksum over everything that matters.
FORMATS: dict[str, tuple[bool, Callable[[], bytes]]] = {
    "torch_archive": (True, lambda: torch_file({"model": STATE, "epoch": 3}, zipped=True)),
    "rosinality_archive": (True, lambda: rosinality(True)),
    "biggan_archive": (True, biggan),
    "torch_legacy": (False, lambda: torch_file({"model": STATE, "epoch": 3}, zipped=False)),
    "rosinality_legacy": (False, lambda: rosinality(False)),
    "nvlabs_2": (False, lambda: nvlabs(2)),
    "nvlabs_3": (False, lambda: nvlabs(3)),
    "nvlabs_4": (False, lambda: nvlabs(4)),
    "tensorflow": (False, tensorflow),
    "safetensors": (False, lambda: save(STATE)),
    "converted": (False, converted),
}


class Like(nn.Module):
    """A network with the tensors of a state dict, under their names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.given = {name: torch.zeros_like(value) for name, value in state.items()}

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return self.given

    def load_state_dict(self, state: Any, *_: Any, **__: Any) -> Any:
        for name, value in self.given.items():
            value.copy_(state[name])


def same(one: Weights, other: Weights) -> bool:
    """Whether two results are equal in every respect but where they come from."""
    ours, theirs = one.state_dict, other.state_dict
    return (
        (one.config, one.family, ours.keys()) == (other.config, other.family, theirs.keys())
        and all(ours[name].dtype == theirs[name].dtype for name in ours)
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
    )


def change(data: bytes, source: random.Random) -> bytes:
    """``data`` with another value for one of its bytes."""
    changed = bytearray(data)
    changed[source.randrange(len(data))] ^= source.randrange(1, 256)
    return bytes(changed)


def outcome(path: Path) -> Weights | str:
    """The weights, or what the error says."""
    try:
        return load_weights(str(path))
    except RosettaError as error:
        return str(error)


def try_many(name: str, count: int, folder: Path) -> dict[str, int]:
    """How often which outcome came of as many changes; all of them are checked."""
    checksum, make = FORMATS[name]
    data = make()
    assert len(data) < 20_000
    path = folder / "original"
    path.write_bytes(data)
    original = load_weights(str(path))
    network = Like(original.state_dict)
    source = random.Random(0)
    outcomes = dict.fromkeys(("refused", "same", "other numbers", "no fit"), 0)
    for index in range(count):
        path = folder / f"changed_{index}"
        path.write_bytes(change(data, source))
        with pytest.raises(RosettaError, match="has SHA-256"):
            load_weights(str(path), sha256=original.sha256)
        weights = outcome(path)
        if isinstance(weights, str):
            assert weights.count("\n") == 1
            outcomes["refused"] += 1
        elif same(weights, original):
            outcomes["same"] += 1
        else:
            assert not checksum, "another result without a word"
            try:
                load_into(network, weights)
                outcomes["other numbers"] += 1
            except RosettaError:
                outcomes["no fit"] += 1
    assert outcomes["refused"] > count // 10, outcomes
    return outcomes


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    try_many(name, 40, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_changed_bytes(name: str, tmp_path: Path) -> None:
    outcomes = try_many(name, 500, tmp_path)
    if FORMATS[name][0]:
        assert outcomes["other numbers"] == outcomes["no fit"] == 0
    else:  # the limit of what can be promised is real
        assert outcomes["other numbers"] > 0


@pytest.mark.slow
def test_every_byte_of_an_archive(tmp_path: Path) -> None:
    """With all bits turned in every other one, and the lowest in the rest."""
    data = FORMATS["torch_archive"][1]()
    (tmp_path / "original").write_bytes(data)
    original = load_weights(str(tmp_path / "original"))
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= (1, 0xFF)[position % 2]
        (tmp_path / "changed").write_bytes(changed)
        weights = outcome(tmp_path / "changed")
        if isinstance(weights, str):
            assert weights.count("\n") == 1
        else:
            assert same(weights, original), position
