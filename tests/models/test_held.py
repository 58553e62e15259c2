"""Units held at constants, in networks of every layout, against what is computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.recording import channel_axis, held, record

CHANNELS, VALUES = torch.tensor([3, 1]), torch.tensor([0.5, -2.0])


def as_it_is(layer: str, value: Tensor) -> Tensor:
    return value


def channels_last(layer: str, value: Tensor) -> Tensor:
    return value.permute(0, 3, 1, 2)


def patches(layer: str, value: Tensor) -> Tensor:
    """Tokens (N, 1 + 6, C) without the first one, folded to 2 x 3."""
    return value[:, 1:].transpose(1, 2).reshape(len(value), -1, 2, 3)


def cropped(layer: str, value: Tensor) -> Tensor:
    return value[:, :, 1:-1, 1:-1]


@pytest.mark.parametrize(
    ("shape", "to_map", "axis"),
    [
        ((2, 4, 5, 3), as_it_is, 1),
        ((2, 4, 4, 4), as_it_is, 1),
        ((2, 4, 5, 4), channels_last, 3),
        ((2, 4, 4, 4), channels_last, 3),
        ((2, 7, 4), patches, 2),
        ((2, 7, 6), patches, 2),
        ((2, 4, 5, 6), cropped, 1),
    ],
)
def test_all_of_a_unit_is_held_and_nothing_else(
    shape: tuple[int, ...], to_map: Callable[[str, Tensor], Tensor], axis: int
) -> None:
    value = torch.randn(shape)
    assert channel_axis("layer", value, to_map) == axis
    network = nn.Sequential(nn.Identity(), nn.Flatten())
    with held(network, {"0": (CHANNELS, VALUES)}, to_map):
        found = network(value).reshape(shape)
    expected = value.clone()
    for channel, constant in zip(CHANNELS.tolist(), VALUES.tolist(), strict=True):
        expected.select(axis, channel).fill_(constant)  # places that no map shows, too
    assert torch.equal(found, expected)
    assert torch.equal(network(value).reshape(shape), value)


def test_maps_without_an_axis_of_units_are_refused() -> None:
    def mixed(layer: str, value: Tensor) -> Tensor:
        return value.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1)

    network = nn.Sequential(nn.Identity())
    with (
        pytest.raises(RosettaError, match=r"'0': .*no axis.*\(2, 4, 5, 5\)"),
        held(network, {"0": (CHANNELS, VALUES)}, mixed),
    ):
        network(torch.randn(2, 4, 5, 5))
    assert not network[0]._forward_hooks


def test_what_a_layer_takes_in_and_tuples_of_one_are_held() -> None:
    class Tupled(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (x,)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = Tupled(), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x)[0])

    network, images = Network(), torch.randn(2, 4, 5, 5)
    expected = images.clone()
    expected[:, CHANNELS] = VALUES[:, None, None]
    for layer in ("first", "last:input"):
        with held(network, {layer: (CHANNELS, VALUES)}, as_it_is):
            assert torch.equal(network(images), network.last(expected))


def test_a_transformer_without_one_unit_of_its_mlp() -> None:
    """By hand: the second linear layer without what the unit brings, and a bias in its place."""
    torch.manual_seed(0)
    kwargs = {"img_size": 32, "patch_size": 8, "depth": 2, "num_classes": 3, "global_pool": "token"}
    model = TimmModel("vit_tiny_patch16_224", "random", ["blocks.*.mlp.act"], None, kwargs)
    images = torch.rand(2, 3, 32, 32)
    with held(model.network, {"blocks.1.mlp.act": (torch.tensor([7]), VALUES[:1])}, model.to_map):
        found = model(images)
    linear = model.network.blocks[1].mlp.fc2
    plain = model(images)
    with torch.no_grad():
        linear.bias += VALUES[0] * linear.weight[:, 7]
        linear.weight[:, 7] = 0.0
    torch.testing.assert_close(found, model(images), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_a_generator_s_margins_are_held_too() -> None:
    torch.manual_seed(0)
    generator = StyleGAN3(
        z_dim=8, w_dim=8, img_resolution=64, channel_base=512, channel_max=4, num_layers=4
    )
    generator.eval().requires_grad_(False)
    layer = next(n for n, _ in generator.named_modules() if n.startswith("synthesis.L1_"))
    values = {layer: (torch.tensor([2]), torch.tensor([0.25]))}
    with held(generator, values, generator.align), record(generator, [layer]) as raw:
        generator(torch.randn(1, 8))
    assert generator.align(layer, raw[layer]).shape != raw[layer].shape
    assert (raw[layer][:, 2] == 0.25).all() and (raw[layer][:, 3] != 0.25).all()
