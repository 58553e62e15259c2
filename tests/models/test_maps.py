"""Maps of layers: who takes them, and what they are in networks of every kind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import timm
import torch
from counted import IMAGES, Counted, hooks, model, network
from torch import Tensor
from toy import ToyGenerator, ToyModel

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.recording import record

# Consumers


def test_a_consumer_takes_maps_as_they_appear_and_may_let_them_go() -> None:
    one = model()
    alive: list[weakref.ref[Tensor]] = []
    seen: list[tuple[str, int]] = []

    def take(layer: str, maps: Tensor) -> float:
        gc.collect()
        seen.append((layer, sum(ref() is not None for ref in alive)))
        alive.append(weakref.ref(maps))
        return float(maps.detach().sum())

    with torch.no_grad():
        for _ in range(2):
            sums = one.maps(IMAGES, ["first", "third"], take)
        expected = one.maps(IMAGES, ["first", "third"])
    assert seen == [("first", 0), ("third", 0)] * 2  # the first was gone when the third came
    assert sums == pytest.approx({layer: float(maps.sum()) for layer, maps in expected.items()})


def test_an_exception_of_a_consumer_comes_through() -> None:
    one = model()
    own = hooks(network(one))
    with pytest.raises(ZeroDivisionError):
        one.maps(IMAGES, ["first"], lambda _layer, _maps: 1 / 0)
    assert hooks(network(one)) == own


# What becomes of maps


def test_gradients_flow_through_a_pass_that_ends_early() -> None:
    one = model()

    def gradient() -> Tensor:
        images = IMAGES.clone().requires_grad_()
        one.maps(images, ["second"])["second"].square().sum().backward()
        assert images.grad is not None
        return images.grad

    whole, stopped = gradient(), gradient()
    assert network(one).ran[-2:] == ["first", "second"]
    assert torch.equal(whole, stopped) and whole.abs().max() > 0


def test_a_pass_may_end_within_autocast() -> None:
    one = model()
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            assert one.maps(IMAGES, ["first"])["first"].dtype == torch.bfloat16
            assert torch.is_autocast_enabled("cpu")
    assert one.maps(IMAGES, ["first"])["first"].dtype == torch.float32


def test_a_pass_may_end_within_what_a_network_turns_off() -> None:
    def body(net: Counted, x: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return net.second(net.first(x))

    one = model(body)
    for _ in range(2):
        one.maps(IMAGES, ["first"])
        assert torch.is_grad_enabled()


@torch.no_grad()
def test_margins_are_cropped_and_tokens_folded() -> None:
    torch.manual_seed(0)
    wide = StyleGAN3(
        z_dim=8, w_dim=8, img_resolution=16, channel_base=64, channel_max=4,
        mapping_kwargs={"num_layers": 1}, num_layers=4, first_cutoff=2, first_stopband=4,
    ).eval()  # fmt: skip
    latent = wide.map(torch.randn(2, 8))
    layer = f"synthesis.{wide.synthesis.layer_names[0]}"
    for _ in range(2):
        found = wide.maps(latent, [layer])[layer]
        with record(wide, [layer]) as raw:
            wide.synthesize(latent)
        assert found.shape[-1] < raw[layer].shape[-1]
        assert torch.equal(found, wide.align(layer, raw[layer]))

    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=0
    )
    tokens = DiscriminativeModel(vit, Preprocess((32, 32)), ())
    for _ in range(2):
        found = tokens.maps(torch.rand(2, 3, 32, 32), ["blocks.0.mlp.act"])["blocks.0.mlp.act"]
        assert found.shape == (2, 768, 4, 4)
    with pytest.raises(RosettaError, match="Layer head puts out"):
        tokens.maps(torch.rand(2, 3, 32, 32), ["head"])


# Networks that are compiled


@pytest.mark.parametrize("compiled", ["generator", "model"])
@torch.no_grad()
def test_what_is_compiled_can_be_looked_at(compiled: str) -> None:
    """torch.compile of the whole: its layers are looked at as they are."""
    torch.compiler.reset()
    if compiled == "generator":
        one: Any = ToyGenerator()
        inputs, layers = torch.randn(2, 12), ["fold", "late"]
    else:
        one, inputs, layers = ToyModel(), IMAGES, ["copy", "mix"]
    expected = one(inputs)
    traced: Any = torch.compile(one, backend="eager", fullgraph=True)
    assert torch.equal(traced(inputs), expected)
    for _ in range(2):
        before = {layer: maps.clone() for layer, maps in one.maps(inputs, layers).items()}
        found = traced.maps(inputs, layers)
        assert all(torch.equal(found[layer], before[layer]) for layer in layers)
    assert torch.equal(traced(inputs), expected)
