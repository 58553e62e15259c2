"""Edits of activations that have a margin around the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rosetta_lab.edit.arms import EditArm, direct_arm, margin_of
from rosetta_lab.edit.edits import Amplify, CopyPaste, Edit, Shift, Suppress, Zoom
from rosetta_lab.edit.problem import Editing
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional import map_edits as edits
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.invert.units import OwnUnits
from rosetta_lab.models.generators.stylegan3 import AliasFreeGenerator, StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import Layer, UnitIndex

CHANNELS, FLOOR = 8, torch.tensor([-1.0, -2.0])


@pytest.fixture(scope="module", params=["stylegan3", "stylegan_xl"])
def generator(request: pytest.FixtureRequest) -> AliasFreeGenerator:
    torch.manual_seed(0)
    small = (
        StyleGAN3(8, 0, 8, 32, channel_base=256, channel_max=CHANNELS, num_layers=5)
        if request.param == "stylegan3"
        else StyleGANXL(c_dim=0, channel_max=CHANNELS, num_layers=5)
    )
    return small.double().eval().requires_grad_(False)


def wide_layer(generator: AliasFreeGenerator) -> str:
    """The last layer with a margin."""
    names = [f"synthesis.{name}" for name in generator.synthesis.layer_names]
    return [name for name in names if generator._margins[name]][-1]


def edited(generator: AliasFreeGenerator, edit: Edit, layer: str) -> tuple[Editing, EditArm]:
    """The edit of two channels of a layer, of two pictures."""
    sources, low = from_seeds(generator, [1, 2]), from_seeds(generator, range(90, 94))
    latent = generator.map(sources.latent, sources.c)
    shape = generator.maps(latent, [layer])[layer].shape
    index = UnitIndex([Layer(layer, *shape[1:])])
    statistics = {layer: (torch.zeros(shape[1]), torch.full((shape[1],), 4.0))}
    size = {layer: (shape[2], shape[3])}
    units = OwnUnits(generator, index, torch.tensor([1, 3]), statistics, size)
    pose = Editing(generator, edit, units, None, low, {"activation": 1.0})
    return pose, direct_arm(pose, sources)


@pytest.mark.parametrize(
    "edit",
    [Shift(0.25), Zoom(1.5), CopyPaste(), Suppress(), Amplify(3.0), Shift(mask=[0, 0, 1, 0.5])],
)
def test_every_edit_reaches_the_picture(generator: AliasFreeGenerator, edit: Edit) -> None:
    layer = wide_layer(generator)
    same, changed = edited(generator, Amplify(1.0), layer)[1], edited(generator, edit, layer)[1]
    own = from_seeds(generator, [1, 2])
    before = generator.to_unit_range(generator(own.latent, own.c))
    torch.testing.assert_close(same.images, before, atol=1e-9, rtol=0)
    assert (changed.images - before).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_the_margin_moves_with_the_image(generator: AliasFreeGenerator) -> None:
    layer, sources = wide_layer(generator), from_seeds(generator, [1, 2])
    seen: list[Tensor] = []
    names = generator.synthesis.layer_names
    after = generator.synthesis.get_submodule(names[names.index(layer.split(".")[1]) + 1])
    hook = after.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pose, _ = edited(generator, Shift(0.25), layer)
    hook.remove()
    with record(generator, [layer]) as raw:
        generator(sources.latent, sources.c)
    old, new = raw[layer][:, [1, 3]], seen[-1][:, [1, 3]]
    margin = generator._margins[layer]
    move = (old.shape[3] - 2 * margin) // 4
    assert margin > 0 and move > 0
    border = margin + move
    torch.testing.assert_close(new[..., border:], old[..., margin:-move], atol=1e-9, rtol=0)
    nothing = 2.0 * pose.floors[0][:, None, None]  # the standard deviation is 2, the mean 0
    torch.testing.assert_close(
        new[..., :border], nothing.expand_as(new[..., :border]), atol=1e-9, rtol=0
    )
    others = [c for c in range(old.shape[1]) if c not in (1, 3)]
    assert torch.equal(raw[layer][:, others], seen[-1][:, others])


def test_a_margin_that_is_no_border_is_refused() -> None:
    maps = torch.zeros(1, 2, 6, 8)
    assert margin_of("a", maps, lambda _, x: x) == 0
    assert margin_of("a", maps, lambda _, x: x[..., 2:-2, 2:-2]) == 2
    for align in (lambda _, x: x[..., 1:], lambda _, x: x.flip(-1), lambda _, x: x[..., ::2, ::2]):
        with pytest.raises(RosettaError, match="cannot be edited"):
            margin_of("a", maps, align)


@pytest.mark.parametrize("margin", [1, 3])
def test_within_the_image_it_is_the_edit_without_a_margin(margin: int) -> None:
    maps = torch.randn(2, 2, 8 + 2 * margin, 12 + 2 * margin)

    def inner(x: Tensor) -> Tensor:
        return x[..., margin:-margin, margin:-margin]

    mask = torch.rand(5, 7)
    for edit in (
        Shift(0.25, -0.125), Shift(-0.5), CopyPaste(), CopyPaste(0.0, 0.25, axis="y"), Suppress(),
        Amplify(2.0), Zoom(2.0), Shift(0.25, mask=[0.25, 0.0, 1.0, 0.5]), Amplify(2.0, mask=mask),
    ):  # fmt: skip
        found = inner(edit(maps, FLOOR, margin))
        torch.testing.assert_close(found, edit(inner(maps), FLOOR))


def test_what_surrounds_the_image_is_empty_where_its_border_comes_into_sight() -> None:
    maps = torch.ones(1, 2, 10, 10)
    shrunk = edits.zoom(maps, 0.5, fill=FLOOR, margin=1)
    for channel, floor in enumerate(FLOOR):
        assert (shrunk[0, channel, :3] == floor).all() and (shrunk[0, channel, -3:] == floor).all()
        assert (shrunk[0, channel, 3:-3, 3:-3] == 1.0).all()
    moved = edits.shift(maps, -0.25, fill=FLOOR, margin=1)
    assert (moved[0, 0, :, :-3] == 1.0).all() and (moved[0, 0, :, -3:] == FLOOR[0]).all()
    half = edits.masked(maps, 5 * maps, (0.0, 0.0, 0.5, 1.0), margin=1)
    assert (half[..., :5] == 5.0).all() and (half[..., 5:] == 1.0).all()
