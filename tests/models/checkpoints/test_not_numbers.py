"""Weights that are NaN, or no weights at all: refused by every reader and every family's loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_checks import private, write
from checkpoint_files import (
    Golden,
    nvlabs_pickle,
    rosinality_checkpoint,
    tensorflow_network,
    tensorflow_pickle,
)
from hostile import torch_file
from nvlabs_networks import network_of
from onnx_files import onnx_file
from safetensors.torch import save
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_weights
from rosetta_lab.models.discriminative.open_clip import OpenClipModel
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.discriminative.vgg import SmallVGGModel

NAN = float("nan")
RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_width": 8}
CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
    "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


def golden(name: str, tensor: str) -> Golden:
    """Its tensors, one number of ``tensor`` NaN."""
    found = Golden.read(name)
    found.tensors[tensor] = found.tensors[tensor].clone()
    found.tensors[tensor].view(-1)[-1] = NAN
    return found


STATE = {"bn.running_var": torch.tensor([1.0, NAN]), "bn.weight": torch.ones(2)}
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "archive": (lambda: torch_file(STATE, zipped=True), "bn.running_var"),
    "legacy": (lambda: torch_file(STATE, zipped=False), "bn.running_var"),
    "safetensors": (lambda: save(STATE), "bn.running_var"),
    "half": (lambda: save({n: v.half() for n, v in STATE.items()}), "bn.running_var"),
    "onnx": (lambda: onnx_file({n: v.numpy() for n, v in STATE.items()}), "bn.running_var"),
    "nvlabs": (
        lambda: nvlabs_pickle(network_of(golden("stylegan2_uncond", "param/mapping.w_avg"))),
        "mapping.w_avg",
    ),
    "tensorflow": (
        lambda: tensorflow_pickle(tensorflow_network(golden("stylegan2_tf", "tf/dlatent_avg"))),
        "mapping.w_avg",
    ),
    "rosinality": (
        lambda: torch_file(
            rosinality_checkpoint(golden("stylegan2_rosinality", "ckpt/latent_avg")), zipped=True
        ),
        "mapping.w_avg",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_nan_in_what_is_no_parameter(kind: str, tmp_path: Path) -> None:
    make, name = FILES[kind]
    with pytest.raises(RosettaError, match=rf"hold NaN \({name}\).*\n.*other weights"):
        load_weights(write(tmp_path / "weights", make()))


def timm(weights: str) -> TimmModel:
    return TimmModel("resnet18", weights, ["layer1"], None, RESNET)


def clip(weights: str) -> OpenClipModel:
    return OpenClipModel("RN50", weights, ["visual.layer1"], {"size": 32}, CLIP)


def vgg(weights: str) -> SmallVGGModel:
    return SmallVGGModel([4, 8], 3, weights, ["stages.0"], {"size": 16})


def changed(model: Any, name: str, value: Callable[[Tensor], Tensor], path: Path) -> str:
    state = dict(model.network.state_dict())
    state[name] = value(state[name])
    return write(path / "changed.safetensors", save(state))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (timm, "bn1.running_var"),
        (clip, "visual.bn1.running_mean"),
        (vgg, "stages.0.conv1.bias"),
    ],
)
def test_nan_weights_are_refused_by_every_loader(make: Any, name: str, tmp_path: Path) -> None:
    path = changed(make("random"), name, lambda value: torch.full_like(value, NAN), tmp_path)
    with pytest.raises(RosettaError, match=rf"hold NaN \({name}\)"):
        make(path)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.uint8])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (timm, "conv1.weight"),
        (timm, "bn1.running_var"),
        (clip, "visual.conv1.weight"),
        (vgg, "head.bias"),
    ],
)
def test_whole_numbers_are_refused_by_every_loader(
    make: Any, name: str, kind: torch.dtype, tmp_path: Path
) -> None:
    path = changed(make("random"), name, lambda value: torch.ones_like(value, dtype=kind), tmp_path)
    with pytest.raises(RosettaError, match=rf"{name}.*{kind}.*\n"):
        make(path)


def test_half_precision_is_as_good(tmp_path: Path) -> None:
    path = changed(timm("random"), "conv1.weight", Tensor.half, tmp_path)
    assert timm(path).network.conv1.weight.dtype == torch.float32
