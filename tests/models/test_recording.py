"""Maps of layers: where a pass ends, what is refused, and what stays behind."""

from __future__ import annotations

import copy

import pytest
import torch
from counted import IMAGES, Counted, hooks, model, network
from small_generator import LAYERS, generator  # noqa: F401
from torch import Tensor, nn
from toy import ToyGenerator

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.recording import record, replaced

# The fixtures of the small generator are imported by name.
# ruff: noqa: F811

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

    outer = model(body, {"**": "NCHW"})  # whatever the images' size, the inner one resizes them
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
