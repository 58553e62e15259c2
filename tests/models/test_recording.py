"""Maps of layers: what is seen, where a pass ends, what is refused, and what stays behind."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from small_generator import LAYERS, generator  # noqa: F401
from torch import Tensor, nn
from toy import ToyGenerator, ToyModel

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.recording import record, replaced

# The fixtures of the small generator are imported by name.
# ruff: noqa: F811

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Counted(nn.Module):
    """Three convolutions, and whatever else a test does; counts how often each runs."""

    def __init__(self, body: Callable[[Counted, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)
        self.body = body or (lambda net, x: net.third(net.second(net.first(x))))
        self.ran: list[str] = []
        for name in ("first", "second", "third"):
            self.get_submodule(name).register_forward_hook(lambda *_, n=name: self.ran.append(n))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def model(body: Callable[[Counted, Tensor], Tensor] | None = None) -> DiscriminativeModel:
    return DiscriminativeModel(Counted(body), Preprocess((12, 12), "bilinear", antialias=False), ())


def network(of: DiscriminativeModel) -> Any:
    return of.network


def hooks(root: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in root.modules())


# Where a pass ends


def test_the_first_pass_is_whole_and_later_ones_end_after_the_last_layer() -> None:
    one = model()
    with torch.no_grad():
        whole = one.maps(IMAGES, ["second", "first"])
        assert network(one).ran == ["first", "second", "third"]
        network(one).ran.clear()
        stopped = one.maps(IMAGES, ["second", "first"])
    assert network(one).ran == ["first", "second"]
    assert list(whole) == list(stopped) == ["second", "first"]
    x = one.preprocess(IMAGES)
    first = nn.functional.conv2d(x, network(one).first.weight, network(one).first.bias, padding=1)
    for found in (whole, stopped):
        torch.testing.assert_close(found["first"], first)
    assert torch.equal(whole["second"], stopped["second"])


def test_the_input_of_a_layer_is_enough_to_end_before_it() -> None:
    one = model()
    one.output_and_maps(IMAGES, ["second:input"])  # a whole pass as good as any
    network(one).ran.clear()
    found = one.maps(IMAGES, ["second:input"])
    assert network(one).ran == ["first"]
    with record(network(one), ["first"]) as raw:
        one(IMAGES)
    assert torch.equal(found["second:input"], raw["first"])


def test_a_layer_that_is_new_takes_a_whole_pass_again() -> None:
    one = model()
    one.maps(IMAGES, ["first"])
    network(one).ran.clear()
    one.maps(IMAGES, ["first", "second"])
    assert network(one).ran == ["first", "second", "third"]


def test_another_network_in_its_place_has_to_show_it_anew() -> None:
    """What was learnt of one network says nothing of the one that takes its place."""
    one = model()
    one.maps(IMAGES, ["first"])
    one.network = Counted(lambda net, x: net.first(net.second(net.first(x))))
    with pytest.raises(RosettaError, match="'first' runs more than once"):
        one.maps(IMAGES, ["first"])


@torch.no_grad()
def test_a_synthesis_ends_after_its_last_layer(generator) -> None:
    own = copy.deepcopy(generator)
    latent = own.map(torch.randn(2, 8).double(), torch.eye(3).double()[:2])
    ran: list[int] = []
    own.get_submodule(LAYERS[-1]).register_forward_hook(lambda *_: ran.append(1))
    images, whole = own.output_and_maps(latent, LAYERS)
    assert torch.equal(images, own.synthesize(latent))
    ran.clear()
    early = own.maps(latent, LAYERS[:2])
    assert not ran and list(early) == LAYERS[:2]
    assert all(torch.equal(maps, whole[layer]) for layer, maps in early.items())


@torch.no_grad()
def test_truncation_of_the_synthesis_is_passed_on() -> None:
    class Scaled(ToyGenerator):
        def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
            return super().synthesize(latent * psi)

    one, z = Scaled(), torch.randn(2, 12)
    maps = one.maps(z, ["late"], psi=0.5)["late"]
    images, both = one.output_and_maps(z, ["late"], psi=0.5)
    assert torch.equal(maps[:, :3], one.synthesize(z, 0.5)) and torch.equal(both["late"], maps)
    assert torch.equal(images, one.synthesize(z, 0.5))
    assert not torch.equal(images, one.synthesize(z))


# What is refused


@pytest.mark.parametrize("after", [False, True], ids=["at once", "after the last layer"])
def test_a_reused_module_is_refused_every_time(after: bool) -> None:
    def body(net: Counted, x: Tensor) -> Tensor:
        x = net.first(x) if after else net.first(net.first(x))
        x = net.third(net.second(x))
        return net.first(x) if after else x

    one = model(body)
    for _ in range(3):
        with pytest.raises(RosettaError, match="'first' runs more than once"):
            one.maps(IMAGES, ["first"])
        with pytest.raises(RosettaError, match="'first' runs more than once"):
            one.output_and_maps(IMAGES, ["first", "second"])
    own = hooks(network(one))
    one.maps(IMAGES, ["second"])  # another layer of the same network is fine
    assert hooks(network(one)) == own


def test_a_layer_that_does_not_run_is_refused_every_time() -> None:
    one = model(lambda net, x: net.second(net.first(x)))
    for _ in range(2):
        with pytest.raises(RosettaError, match="'third' ran 0 times"):
            one.maps(IMAGES, ["first", "third"])


def test_a_layer_that_is_overwritten_is_not_kept() -> None:
    """An in-place activation would make a convolution's maps its own, where the pass goes on."""
    one = model(lambda net, x: net.second(net.relu(net.first(x))))
    with torch.no_grad(), pytest.raises(RosettaError, match="'first' is overwritten in place"):
        one.maps(IMAGES, ["first"])
    with torch.no_grad():
        expected = network(one).first(one.preprocess(IMAGES))
        for _ in range(2):  # what is taken at once is what the layer puts out, stopped or not
            taken = one.maps(IMAGES, ["first"], lambda _, maps: maps.clone())["first"]
            assert torch.equal(taken, expected)
        found = one.maps(IMAGES, ["relu"])["relu"]
    assert torch.equal(found, expected.relu()) and expected.min() < 0


def test_inference_mode_counts_no_writes_so_that_nothing_is_learnt_from_it() -> None:
    one = model()
    with torch.inference_mode():
        for _ in range(2):
            one.maps(IMAGES, ["first"])
            assert network(one).ran == ["first", "second", "third"]
            network(one).ran.clear()
    one.maps(IMAGES, ["first"])
    network(one).ran.clear()
    with torch.inference_mode():
        one.maps(IMAGES, ["first"])
    assert network(one).ran == ["first"]


# What the network does


def test_exceptions_of_the_network_come_through_and_leave_no_hooks() -> None:
    def body(net: Counted, x: Tensor) -> Tensor:
        x = net.second(net.first(x))
        if len(x) > 2:
            raise ZeroDivisionError("the network's own")
        return net.third(x)

    one = model(body)
    own = hooks(network(one))
    for look in (one.maps, one.output_and_maps):
        with pytest.raises(ZeroDivisionError, match="the network's own"):
            look(IMAGES.repeat(2, 1, 1, 1), ["first", "third"])
        assert hooks(network(one)) == own
        look(IMAGES, ["first", "third"])
        assert hooks(network(one)) == own


def test_a_network_that_catches_exceptions_is_left_all_the_same() -> None:
    def body(net: Counted, x: Tensor) -> Tensor:
        try:
            return net.second(net.first(x))
        except Exception:
            return net.third(x)

    one = model(body)
    one.maps(IMAGES, ["first"])
    network(one).ran.clear()
    assert list(one.maps(IMAGES, ["first"])) == ["first"]
    assert network(one).ran == ["first"]


def test_a_pass_within_a_pass() -> None:
    """A model looks at its images with another one, a layer of which is asked of both."""
    inner = model()

    def body(net: Counted, x: Tensor) -> Tensor:
        return net.second(net.inner.maps(x, ["second"])["second"])

    outer = model(body)
    network(outer).inner = inner
    inner.maps(IMAGES, ["second"])
    with torch.no_grad():
        expected = network(inner).second(network(inner).first(inner.preprocess(IMAGES)))
        for _ in range(2):
            found = outer.maps(inner.preprocess(IMAGES), ["inner.network.first", "second"])
            torch.testing.assert_close(found["second"], network(outer).second(expected))
        outer.maps(IMAGES, ["inner.network.first"])
        network(outer).ran.clear()
        network(inner).ran.clear()
        outer.maps(IMAGES, ["inner.network.first"])
    assert network(inner).ran == ["first"] and network(outer).ran == []


def test_replaced_maps_are_seen() -> None:
    one, new = model(), torch.full((2, 1, 12, 12), 7.0)
    for _ in range(2):
        with replaced(network(one), {"first": (torch.tensor([1]), new)}):
            found = one.maps(IMAGES, ["first"])["first"]
        assert (found[:, 1] == 7.0).all() and not (found[:, 0] == 7.0).any()


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
