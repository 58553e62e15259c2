"""Files that say two things, or something else than they should: an error, never other weights."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_checks import assert_same_state, private, write
from checkpoint_files import Golden, nvlabs_network, nvlabs_pickle
from hostile import refused, torch_file
from nvlabs_networks import network_of
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import Weights, convert, load_into, load_weights

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


# types and values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.complex64]
)
def test_safetensors_of_unexpected_types(kind: torch.dtype, tmp_path: Path) -> None:
    save_file({"conv.weight": torch.ones(2).to(kind)}, tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", tmp_path, "conv.weight is of torch.")


def test_safetensors_of_types_that_nobody_knows(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    for name in (b'"F31"', b'"F4 "', b'"???"'):
        data = (tmp_path / "model.safetensors").read_bytes().replace(b'"F32"', name)
        refused(data, tmp_path, "damaged")


@pytest.mark.parametrize("zipped", [True, False, None])
@pytest.mark.parametrize(
    "kind",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
    ],
)
def test_plain_types_come_as_they_are(
    kind: torch.dtype, zipped: bool | None, tmp_path: Path
) -> None:
    state = {"a": torch.tensor([[0, 1, 5], [7, 100, 2]]).to(kind), "none": torch.zeros(0, 3)}
    data = torch_file(state, zipped=bool(zipped))
    if zipped is None:
        save_file(state, tmp_path / "s")
        data = (tmp_path / "s").read_bytes()
    weights = load_weights(write(tmp_path / "model.pth", data))
    assert_same_state(weights, state)
    assert weights.state_dict["a"].dtype == kind


@pytest.mark.parametrize("given", [torch.int32, torch.bool, torch.uint8])
def test_whole_numbers_are_no_weights(given: torch.dtype) -> None:
    """One letter in a header makes them of any weights, with values like 1065353216."""
    weights = Weights({"weight": torch.ones(2, 3).to(given)}, None, None, "w", "")
    with pytest.raises(RosettaError, match=r"1 of another type \(weight torch\.\w+ instead of"):
        load_into(nn.Linear(3, 2, bias=False), weights)


def test_types_that_mean_the_same_are_fine() -> None:
    norm = nn.BatchNorm1d(2)
    state = {name: value.half() for name, value in norm.state_dict().items()}
    load_into(norm, Weights(state | {"num_batches_tracked": torch.tensor(7.0)}, None, None, "", ""))
    assert norm.num_batches_tracked == 7
    broken = Weights(state | {"num_batches_tracked": torch.tensor(7.5)}, None, None, "w", "")
    with pytest.raises(RosettaError, match="num_batches_tracked"):
        load_into(norm, broken)


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "pkl"])
def test_weights_that_are_no_numbers(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    state = {"a": torch.ones(3), "b": torch.tensor([1.0, float("nan")])}
    if suffix == "pth":
        torch.save(state, path)
    elif suffix == "safetensors":
        save_file(state, path)
    else:
        golden = Golden.read("stylegan2_uncond")
        params = golden.below("param/")
        params["synthesis.b4.const"][0, 0, 0] = float("nan")
        path.write_bytes(nvlabs_pickle(nvlabs_network(params, golden.json("buffers"))))
    wanted = "synthesis.b4.const" if suffix == "pkl" else "1 of 2 tensors hold NaN (b)"
    refused(path, tmp_path, wanted)
    assert not list(tmp_path.rglob("converted/*.safetensors"))


def test_infinite_numbers_are_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Masks have them."""
    torch.save({"mask": torch.tensor([0.0, -torch.inf])}, tmp_path / "model.pth")
    load_weights(str(tmp_path / "model.pth"))
    assert "infinite numbers in mask" in caplog.text


# names -----------------------------------------------------------------------------------------


class Wrapped(nn.Module):
    """A network whose own modules are called as wrappers are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)))
        self.add_module("head" if name == "backbone" else "extra", nn.Linear(1, 1))


@pytest.mark.parametrize("name", ["model", "backbone", "module", "_orig_mod"])
@pytest.mark.parametrize("around", ["", "module.", "model.module.", "_orig_mod."])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_networks_whose_own_modules_are_called_as_wrappers(
    name: str, around: str, alone: bool, suffix: str, tmp_path: Path
) -> None:
    module = Wrapped(name)
    if alone:
        del module._modules["extra" if "extra" in module._modules else "head"]
    state = {around + key: value for key, value in module.state_dict().items()}
    path = tmp_path / f"model.{suffix}"
    torch.save(state, path) if suffix == "pth" else save_file(state, path)
    again = Wrapped(name)
    if alone:
        del again._modules["extra" if "extra" in again._modules else "head"]
    load_into(again, load_weights(str(path)))
    for key, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_backbone_of_a_wrapped_network(tmp_path: Path) -> None:
    """And the same tensors for a network that is the backbone itself."""
    module = Wrapped("backbone")
    torch.save(module.state_dict(), tmp_path / "model.pth")
    weights = load_weights(str(tmp_path / "model.pth"))
    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    load_into(inner, weights)
    assert torch.equal(inner[0].weight, module.state_dict()["backbone.0.weight"])
    replaced = replace(weights, state_dict={"weight": torch.ones(1, 1), "bias": torch.ones(1)})
    load_into(nn.Linear(1, 1), replaced)


@pytest.mark.parametrize(
    "name", ["w\x1b[2J", "w\nforged line", "w\u202e", "w" * 501, 7, None, 1.5, b"w"]
)
def test_names_that_are_none(name: Any, tmp_path: Path) -> None:
    """Whoever prints them would let the file write on the terminal."""
    message = refused(torch_file({name: torch.ones(1)}, zipped=True), tmp_path, "as a name")
    assert message.replace("\n", "", 1).isprintable()
    if isinstance(name, str):
        save_file({name: torch.ones(1)}, tmp_path / "model.safetensors")
        refused(tmp_path / "model.safetensors", tmp_path, "as a name")


def test_a_module_whose_name_has_a_dot(tmp_path: Path) -> None:
    """Otherwise two paths could lead to one name, and either tensor be taken."""
    params = {"a.weight": torch.ones(1)}
    network = nvlabs_network(params, [])
    network.call[1][0]["state"]["_parameters"]["a.weight"] = nn.Parameter(torch.zeros(1))
    refused(nvlabs_pickle(network), tmp_path, "a.weight as the name of one part")


def test_two_tensors_for_one_place(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_rosinality")
    state: dict[str, Tensor] = golden.below("param/")
    state["convs.00.conv.weight"] = state["convs.0.conv.weight"] + 1
    checkpoint = {"g_ema": state, "latent_avg": golden.tensors["ckpt/latent_avg"]}
    refused(torch_file(checkpoint, zipped=True), tmp_path, "two tensors for synthesis.b8.conv0")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nvlabs_pickles_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    """Protocol 2 has the names of Python 2, and no bytes."""
    golden = Golden.read("stylegan3_t")
    data = nvlabs_pickle(network_of(golden), protocol)
    data = data.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    assert data[1] == protocol and (b"c__builtin__\nset\n" in data) == (protocol == 2)
    weights = load_weights(write(tmp_path / "network.pkl", data))
    assert_same_state(weights, golden.below("param/"))


def test_a_whole_module_is_refused_by_its_class(tmp_path: Path) -> None:
    for zipped in (True, False):
        data = torch_file(nn.Linear(2, 2), zipped=zipped)
        refused(data, tmp_path, "torch.nn.modules.linear.Linear")


def test_parameters_with_attributes(tmp_path: Path) -> None:
    tensor = nn.Parameter(torch.ones(3))
    tensor.note = "mine"  # type: ignore[attr-defined]
    torch.save({"weight": tensor, "plain": nn.Parameter(torch.zeros(2))}, tmp_path / "model.pth")
    expected = {"weight": torch.ones(3), "plain": torch.zeros(2)}
    assert_same_state(load_weights(str(tmp_path / "model.pth")), expected)


def test_notes_of_a_trainer_are_left_aside(tmp_path: Path) -> None:
    notes = {
        "best": np.float64(0.5),
        "numbers": np.arange(3),
        "path": Path("/somewhere"),
        "steps": {1: {2.5: None}},
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "type": torch.float32,
        "sparse": torch.eye(2).to_sparse(),
    }
    torch.save({"state_dict": STATE, "notes": notes}, tmp_path / "model.pth")
    assert_same_state(load_weights(str(tmp_path / "model.pth")), STATE)


# the conversion that is kept -------------------------------------------------------------------


def test_conversions_are_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that was changed since, or whose checksum is gone, is made anew."""
    torch.save(STATE, tmp_path / "model.pth")
    first = load_weights(str(tmp_path / "model.pth"))
    assert first.file is not None
    original = first.file.read_bytes()
    changed = original[:-1] + bytes([original[-1] ^ 1])
    first.file.write_bytes(changed)
    assert_same_state(load_weights(str(tmp_path / "model.pth")), STATE)
    assert "is damaged; making it anew" in caplog.text
    first.file.with_name(first.file.name + ".sha256").unlink()
    first.file.write_bytes(changed)
    assert_same_state(load_weights(str(tmp_path / "model.pth")), STATE)
    assert first.file.read_bytes() == original


def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights would be kept under the checksum of what it was."""
    path = tmp_path / "model.pth"
    torch.save(STATE, path)
    real = convert.convert_apart

    def changing(source: Path, target: Path, notes: dict[str, str]) -> str:
        torch.save(STATE | {"more": torch.ones(9)}, path)
        return real(source, target, notes)

    monkeypatch.setattr(convert, "convert_apart", changing)
    with pytest.raises(RosettaError, match="changed while it was read"):
        load_weights(str(path))
    monkeypatch.setattr(convert, "convert_apart", real)
    assert load_weights(str(path)).state_dict.keys() == STATE.keys() | {"more"}


def test_sha256_of_converted_weights_is_compared(tmp_path: Path) -> None:
    """On every load: weights that changed after a run must not be used without a word."""
    path = tmp_path / "model.pth"
    torch.save(STATE, path)
    digest = load_weights(str(path)).sha256
    assert load_weights(str(path), sha256=digest).sha256 == digest
    torch.save(STATE | {"conv.bias": torch.zeros(2)}, path)
    with pytest.raises(RosettaError, match="has SHA-256"):
        load_weights(str(path), sha256=digest)


def test_notes_beside_the_weights_are_typed(tmp_path: Path) -> None:
    """Those of a safetensors file are a stranger's as well."""
    for notes, wanted in (
        ({"config": "[" * 100_000}, "expected constructor arguments"),
        ({"config": json.dumps([1])}, "expected constructor arguments"),
    ):
        save_file(STATE, tmp_path / "model.safetensors", notes)
        refused(tmp_path / "model.safetensors", tmp_path, wanted)
    save_file(STATE, tmp_path / "model.safetensors", {"family": "\x1b[2J"})
    assert load_weights(str(tmp_path / "model.safetensors")).family is None


def test_files_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    for source in ("folder", "link", "fifo", "nothing", "~nobody-of-this-name/x"):
        path = source if source[0] == "~" else str(tmp_path / source)
        with pytest.raises(RosettaError) as caught:
            load_weights(path)
        assert str(caught.value).count("\n") == 1
    with pytest.raises(RosettaError, match="no path"):
        load_weights("s3://[bad/model.pth")
