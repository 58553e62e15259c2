"""BigGAN-deep: truncation statistics, spectral normalisation, sizes of the real network."""

from __future__ import annotations

import pytest
import torch

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.generators.biggan_deep import (
    BigGANDeep,
    SelfAttention,
    SpectralConv2d,
    TruncatedBatchNorm,
)


def tiny() -> BigGANDeep:
    return BigGANDeep(
        output_dim=16,
        z_dim=4,
        channel_width=4,
        num_classes=3,
        layers=[(True, 8, 4), (True, 4, 2)],
        attention_layer_position=1,
    ).eval()


@pytest.mark.slow
def test_imagenet_256() -> None:
    with torch.device("meta"):
        generator = BigGANDeep()
    convolutions = {name: m for name, m in generator.named_modules() if "conv" in name}
    assert len(convolutions) == 53
    assert sum(m.weight_orig.shape[0] for m in convolutions.values()) == 23296
    attention = [
        i for i, m in enumerate(generator.generator.layers) if isinstance(m, SelfAttention)
    ]
    assert attention == [8]
    assert generator.generator.layers[8].snconv1x1_o_conv.weight_orig.shape[:2] == (512, 256)
    assert generator.generator.gen_z.weight_orig.shape == (4 * 4 * 2048, 256)


@pytest.mark.parametrize(
    ("psi", "row"),
    # Double rounding puts 0.58 and 0.94 just below 29 and 47 steps of 0.02.
    [(1.0, 50), (0.5, 25), (0.02, 1), (0.58, 28), (0.94, 46)],
)
def test_stored_statistics(psi: float, row: int) -> None:
    norm = TruncatedBatchNorm(1, 51, eps=0.0)
    norm.running_means.copy_(torch.arange(51.0)[:, None])
    norm.running_vars.copy_(100 + torch.arange(51.0)[:, None])
    mean, var = norm.statistics(psi)
    assert float(mean) == pytest.approx(row, abs=1e-4)
    assert float(var) == pytest.approx(100 + row, abs=1e-4)


def test_blended_statistics() -> None:
    """A quarter of the way from row 2 to row 3 counts row 2 by a quarter."""
    norm = TruncatedBatchNorm(1, 5, eps=0.0)
    norm.running_means.copy_(torch.tensor([0.0, 0.0, 1.0, 100.0, 0.0])[:, None])
    mean, _ = norm.statistics(2.25 / 4)
    assert float(mean) == pytest.approx(0.25 * 1 + 0.75 * 100)


def test_one_row_of_statistics_serves_every_truncation() -> None:
    norm = TruncatedBatchNorm(2, 1, eps=0.0)
    norm.running_means.fill_(3.0)
    assert norm.statistics(0.3)[0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("outputs", [4, 80])
def test_spectral_norm_of_new_weights(outputs: int) -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(6, outputs, 3)
    with torch.no_grad():
        conv.weight_orig.mul_(7.0)
    matrix = conv.weight.detach().flatten(1)
    assert 1.0 <= float(torch.linalg.matrix_norm(matrix, ord=2)) < 1.15


def test_spectral_norm_takes_the_stored_vectors_as_they_are() -> None:
    conv = SpectralConv2d(1, 1, 1)
    state = {
        "weight_orig": torch.full((1, 1, 1, 1), 6.0),
        "weight_u": torch.tensor([2.0]),
        "weight_v": torch.tensor([0.5]),
        "bias": torch.zeros(1),
    }
    conv.load_state_dict(state)
    assert conv.weight.item() == 1.0


def frozen_conv() -> SpectralConv2d:
    torch.manual_seed(0)
    return SpectralConv2d(3, 4, 3).eval().requires_grad_(False)


def test_weight_of_a_frozen_network_is_computed_once() -> None:
    conv = frozen_conv()
    with torch.inference_mode():
        kept = conv.weight
    assert conv.weight is kept
    x = torch.randn(1, 3, 5, 5, requires_grad=True)
    conv(x).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert set(conv.state_dict()) == {"weight_orig", "bias", "weight_u", "weight_v"}


CHANGES = {
    "load_state_dict": lambda conv: conv.load_state_dict(SpectralConv2d(3, 4, 3).state_dict()),
    "assigned": lambda conv: conv.load_state_dict(
        SpectralConv2d(3, 4, 3).state_dict(), assign=True
    ),
    "in place": lambda conv: conv.weight_orig[0].mul_(2.0),
    "vector": lambda conv: conv.weight_u.mul_(2.0),
    "converged": lambda conv: conv.converge(),
    "precision": lambda conv: conv.double(),
    "a training step": lambda conv: conv.train()(torch.randn(1, 3, 5, 5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_kept_weight_follows_every_change(change: str) -> None:
    conv = frozen_conv()
    before = conv.weight.clone()
    CHANGES[change](conv)
    conv.eval().requires_grad_(False)
    matrix = conv.weight_orig.flatten(1)
    sigma = torch.dot(conv.weight_u, matrix @ conv.weight_v)
    torch.testing.assert_close(conv.weight, conv.weight_orig / sigma)
    if change != "precision":
        assert not torch.equal(conv.weight, before)
    assert conv.weight.dtype == conv.weight_orig.dtype


def test_kept_weight_does_not_hide_an_optimiser() -> None:
    conv = frozen_conv()
    before = conv.weight.clone()
    conv.requires_grad_(True)
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.1)
    conv(torch.randn(1, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    after = conv.requires_grad_(False).weight
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, conv.normalize())


def test_networks_made_for_inference_only() -> None:
    with torch.inference_mode():
        conv = frozen_conv()
        torch.testing.assert_close(conv.weight, conv.normalize())


@torch.no_grad()
def test_psi_acts_on_the_statistics_only() -> None:
    torch.manual_seed(0)
    generator = tiny()
    z, c = torch.randn(2, 4), generator.one_hot(torch.tensor([0, 2]))
    assert torch.equal(generator.map(z, c, psi=0.3), generator.map(z, c))
    before = generator(z, c, psi=0.3)
    for module in generator.modules():
        if isinstance(module, TruncatedBatchNorm):
            module.running_means[15] += 1.0  # the row for 0.3
    assert not torch.equal(generator(z, c, psi=0.3), before)
    assert torch.equal(generator(z, c, psi=0.5), generator(z, c, psi=1.0))


def test_gradient_reaches_the_classes() -> None:
    c = torch.full((1, 3), 1 / 3).requires_grad_()
    tiny()(torch.randn(1, 4), c).sum().backward()
    assert c.grad is not None
    assert c.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"psi": 0.0}, "psi=0.0"),
        ({"psi": 1.1}, "psi=1.1"),
        ({"cutoff": 2}, "cutoff=2"),
        ({"c": None}, "conditional on 3 classes"),
    ],
)
def test_mistakes(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(RosettaError, match=message):
        tiny()(torch.zeros(1, 4), **{"c": torch.eye(3)[:1], **arguments})


def test_layers_that_miss_the_image_size() -> None:
    with pytest.raises(RosettaError, match="lead to 8 px"):
        BigGANDeep(output_dim=16, layers=[(True, 2, 1)])


@pytest.mark.slow
@torch.no_grad()
def test_traced() -> None:
    """torch.compile takes it in one piece, with weights that are kept and with others."""
    z, c = torch.randn(2, 4), torch.eye(3)[:2]
    for trained in (False, True):
        torch.compiler.reset()
        generator = tiny().requires_grad_(trained)
        traced = torch.compile(generator, backend="eager", fullgraph=True)
        assert torch.equal(traced(z, c, psi=0.43), generator(z, c, psi=0.43))
