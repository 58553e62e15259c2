"""What an edit is made of: replaced maps, targets, starts, arms."""

from __future__ import annotations

import pytest
import torch
from small_generator import LAYERS, SIZES, generator, statistics  # noqa: F401  fixtures
from torch import nn

from rosetta_lab.edit.arms import direct_arm, example_maps, run_arm
from rosetta_lab.edit.edits import Amplify, CopyPaste, Shift
from rosetta_lab.edit.problem import Editing
from rosetta_lab.invert.latent_code import random_z
from rosetta_lab.invert.sources import from_seeds, in_space
from rosetta_lab.invert.units import OwnUnits
from rosetta_lab.models.recording import record, replaced
from rosetta_lab.models.units import Layer, UnitIndex

# The fixtures of the toy generator are imported by name.
# ruff: noqa: F811

INDEX = UnitIndex([Layer(name, 16, *SIZES[name]) for name in LAYERS])
ALL = range(len(INDEX))


def own_units(generator, statistics, chosen) -> OwnUnits:
    return OwnUnits(generator, INDEX, torch.tensor(list(chosen)), statistics, SIZES)


def editing(generator, statistics, edit, chosen=ALL, kept=None) -> Editing:
    loss = {"activation": 1.0, "latent_l2": 0.1}
    units = own_units(generator, statistics, chosen)
    others = None if kept is None else own_units(generator, statistics, kept)
    return Editing(generator, edit, units, others, from_seeds(generator, range(90, 98)), loss)


# The command


def test_replaced_maps_reach_the_image_and_leave_no_hook(generator) -> None:
    layer, channels = LAYERS[1], torch.tensor([3, 5])
    z, c = torch.zeros(2, 8).double(), torch.eye(3).double()[:2]
    new = torch.full((2, 2, 8, 8), 7.0)
    before = generator(z, c)
    with replaced(generator, {layer: (channels, new)}), record(generator, [layer]) as raw:
        after = generator(z, c)
    assert (raw[layer][:, channels] == 7.0).all() and not (raw[layer][:, 4] == 7.0).all()
    assert not torch.allclose(before, after)
    with (
        pytest.raises(ZeroDivisionError),
        replaced(generator, dict.fromkeys(LAYERS, (channels, new))),
    ):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in generator.modules())
    assert torch.equal(generator(z, c), before)


def test_what_a_layer_takes_in_is_replaced_like_what_the_one_before_puts_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    images, new = torch.rand(2, 3, 8, 8), torch.rand(2, 2, 6, 6)
    channels, plain, found = torch.tensor([0, 3]), network(images), []
    for layer in ("0", "1:input"):
        with replaced(network, {layer: (channels, new)}), record(network, ["1:input"]) as raw:
            found.append(network(images))
        assert torch.equal(raw["1:input"][:, channels], new)
    assert torch.equal(found[0], found[1]) and not torch.allclose(found[0], plain)
    assert torch.equal(network(images), plain)


def test_direct_edit_puts_the_edited_maps_in(generator, statistics) -> None:
    sources = from_seeds(generator, [1, 2])
    same = direct_arm(editing(generator, statistics, Amplify(1.0)), sources)
    with torch.no_grad():
        before = editing(generator, statistics, Shift()).code(sources).images().clamp(0, 1)
    assert torch.allclose(same.images, before, atol=1e-9)
    # By hand: two channels of the first layer move by one of four cells, their minimum comes in.
    low = from_seeds(generator, range(90, 98))
    with record(generator, [LAYERS[0]]) as many:
        generator(low.latent, low.c)
    with record(generator, [LAYERS[0]]) as raw:
        generator(sources.latent, sources.c)
    channels = torch.tensor([2, 9])
    new = raw[LAYERS[0]][:, channels].roll(1, dims=3)
    new[..., 0] = many[LAYERS[0]][:, channels].amin(dim=(0, 2, 3))[:, None]
    with replaced(generator, {LAYERS[0]: (channels, new)}):
        expected = generator.to_unit_range(generator(sources.latent, sources.c))
    moved = direct_arm(editing(generator, statistics, Shift(0.25), chosen=[2, 9]), sources)
    assert torch.allclose(moved.images, expected, atol=1e-9)
    assert not torch.allclose(moved.images, before, atol=1e-3)


def test_targets_are_the_edited_maps_and_others_stay(generator, statistics) -> None:
    sources = from_seeds(generator, [4])
    pose = editing(generator, statistics, Shift(0.25), chosen=[0, 1], kept=[20])
    (before,), (after,) = pose.targets(sources)
    assert before.layer == LAYERS[0] and before.channels.tolist() == [0, 1]
    assert torch.equal(after.maps[..., 1:], before.maps[..., :-1])  # one of four cells
    assert torch.equal(after.maps[0, :, 0, 0], pose.floors[0])
    assert pose(sources)[1].agreement.pairs == 3


def test_edits_start_where_the_source_is_but_copy_paste_at_random(generator, statistics) -> None:
    sources = from_seeds(generator, [4, 5])
    code, _ = editing(generator, statistics, Shift())(sources)
    assert torch.equal(code.value.detach(), sources.latent)
    pose = editing(generator, statistics, CopyPaste())
    one, two = pose(sources)[0].value.detach(), pose(sources)[0].value.detach()
    assert torch.equal(one, two) and not torch.allclose(one, sources.latent)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_a_random_start_is_held_near_the_prior_mean_and_no_source(
    generator, statistics, space
) -> None:
    units = own_units(generator, statistics, ALL)
    low, sources = (from_seeds(generator, s, None, space) for s in (range(90, 98), [4, 5]))
    code, held = Editing(generator, CopyPaste(), units, None, low, {"latent_l2": 1.0}, space=space)(
        sources
    )
    z = torch.stack([random_z(generator, [str(i)], 0)[0] for i in range(10_000)])
    prior = in_space(generator, space, z, sources.c[:1].expand(len(z), -1)).mean(dim=0)
    expected = torch.zeros_like(prior) if space == "z" else prior
    torch.testing.assert_close(code.anchor[0], expected, atol=1e-6, rtol=0)
    distance = (code.value.detach()[0] - expected).square().mean()
    torch.testing.assert_close(held(code).total[0].detach(), distance, atol=1e-6, rtol=0)
    still, _ = Editing(generator, Shift(), units, None, low, {}, space=space)(sources)
    assert torch.equal(still.anchor, sources.latent)


def test_an_edit_brings_the_maps_nearer_to_what_was_asked(generator, statistics) -> None:
    sources = from_seeds(generator, [2, 4])
    pose = editing(generator, statistics, Shift(0.25))
    arm = run_arm(pose, sources, 5, steps=30, lr=0.1)
    assert len(arm.frames) == 6 and torch.equal(arm.frames[-1], arm.images)
    for row in arm.figures:
        assert row["agreement"] > row["agreement_before"] + 0.01
    examples = example_maps(pose, sources, arm, limit=5)
    assert [name.split(" · ")[0] for name, *_ in examples] == [*LAYERS, *LAYERS[:2]]
    for name, before, asked, reached in examples:
        assert before.shape == asked.shape == reached.shape == (2, *SIZES[name.split(" · ")[0]])
