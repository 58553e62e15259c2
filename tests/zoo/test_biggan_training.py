"""BigGAN-deep in training: batch statistics, power iterations, standing statistics."""

from __future__ import annotations

import copy
from pathlib import Path

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from rosetta_lab.data.fashion.scenes import FashionScenes
from rosetta_lab.data.latents import as_is
from rosetta_lab.models.generators.biggan_deep import BigGANDeep, TruncatedBatchNorm
from rosetta_lab.models.generators.spectral import SpectralConv2d, SpectralModule
from rosetta_lab.zoo.gan import Critic, GANModule

LAYERS = [(True, 8, 4), (True, 4, 2)]


def tiny(n_stats: int = 3) -> BigGANDeep:
    torch.manual_seed(0)
    return BigGANDeep(16, 4, 4, 3, LAYERS, attention_layer_position=1, n_stats=n_stats)


def inputs(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 4), torch.eye(3)[torch.arange(count) % 3]


def buffers(generator: BigGANDeep) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in generator.named_buffers()}


def test_batch_norm_in_training_is_torchs() -> None:
    """The batch's own statistics, and stored ones that follow in the truncation's row alone."""
    torch.manual_seed(0)
    norm, reference = TruncatedBatchNorm(5, 3, eps=1e-4), torch.nn.BatchNorm2d(5, eps=1e-4)
    for _ in range(2):
        x = 3.0 * torch.randn(4, 5, 6, 6) + 2.0
        torch.testing.assert_close(norm(x, x, 0.5), reference(x))
    torch.testing.assert_close(norm.running_means[1], reference.running_mean)
    torch.testing.assert_close(norm.running_vars[1], reference.running_var)
    assert norm.running_means[[0, 2]].eq(0.0).all() and norm.running_vars[[0, 2]].eq(1.0).all()
    norm.eval(), reference.eval()
    torch.testing.assert_close(norm(x, x, 0.5), reference(x))


def test_only_training_changes_the_buffers() -> None:
    generator = tiny()
    before = buffers(generator)
    generator.eval()(*inputs())
    assert all(torch.equal(before[k], v) for k, v in generator.named_buffers())
    generator.train()(*inputs())
    after = buffers(generator)
    assert {k for k in before if torch.equal(before[k], after[k])} == {
        k
        for k in before
        if after[k].numel() == 1  # a unit vector of one number stays
    }


def test_power_iterations_follow_the_weight() -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(6, 4, 3)
    with torch.no_grad():
        conv.weight_orig.copy_(torch.randn(4, 6, 3, 3))
    for _ in range(200):
        conv(torch.zeros(1, 6, 3, 3))
    largest = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2)
    assert float(largest) == pytest.approx(1.0, abs=1e-4)
    iterated = conv.weight.detach()
    conv.converge()
    torch.testing.assert_close(conv.weight.detach(), iterated, rtol=1e-4, atol=1e-5)


def test_two_passes_before_one_backward() -> None:
    """Nothing that the first pass needs is overwritten by the second."""
    generator = tiny().train()
    (generator(*inputs()).mean() + generator(*inputs()).mean()).backward()
    assert all(p.grad is not None for p in generator.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_gradient_reaches_the_latent(training: bool) -> None:
    z, c = inputs()
    z.requires_grad_()
    tiny().train(training)(z, c)[0].square().sum().backward()
    assert z.grad is not None
    assert z.grad[0].abs().max() > 0
    assert (z.grad[1].abs().max() > 0) == training  # a batch shares its statistics


def test_standing_statistics_make_eval_agree_with_training(tmp_path: Path) -> None:
    """For each truncation; and the exported file gives the very same images."""
    generator = tiny()
    for _ in range(3):  # weights that the vectors and statistics of before do not fit
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    generator.finish_training()
    assert not any(module.training for module in generator.modules())
    for psi in (0.5, 1.0):
        z, c = inputs(600)
        with torch.no_grad():
            stored = generator(psi * z, c, psi=psi)
            batch = copy.deepcopy(generator).train()(psi * z, c, psi=psi)
        assert (stored - batch).square().mean() < 0.01 * batch.var()
    save_file({k: v.contiguous() for k, v in generator.state_dict().items()}, tmp_path / "w")
    loaded = tiny().eval()
    loaded.load_state_dict(load_file(tmp_path / "w"))
    with torch.no_grad():
        assert torch.equal(loaded(z, c), generator(z, c))


def test_finishing_is_reproducible() -> None:
    a, b = tiny(), tiny()
    a.finish_training()
    torch.randn(7)
    b.finish_training()
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


def test_a_few_steps_against_the_critic() -> None:
    """What is shipped has moved, is finite, and normalises its own maps."""
    torch.manual_seed(0)
    generator = BigGANDeep(16, 8, 4, 10, LAYERS, attention_layer_position=1, n_stats=2)
    before = [p.clone() for p in generator.parameters()]
    module = GANModule(generator, Critic(10, 16, (8, 8)), images=64)
    trainer = L.Trainer(
        max_steps=8,  # two optimisers, four batches
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(FashionScenes("train", size=16), 8, collate_fn=as_is))
    shipped = module.trained()
    assert isinstance(shipped, BigGANDeep)
    moved = [
        not torch.equal(a, b.detach()) for a, b in zip(before, shipped.parameters(), strict=True)
    ]
    assert all(moved)
    assert all(v.isfinite().all() for v in shipped.state_dict().values())
    for spectral in (m for m in shipped.modules() if isinstance(m, SpectralModule)):
        largest = torch.linalg.matrix_norm(spectral.weight.detach().flatten(1), ord=2)
        assert float(largest) == pytest.approx(1.0, abs=1e-4)
    maps: list[torch.Tensor] = []
    shipped.generator.bn.register_forward_hook(lambda _m, _i, output: maps.append(output))
    with torch.no_grad():
        shipped(torch.randn(500, 8), F.one_hot(torch.arange(500) % 10, 10).float())
    bn = shipped.generator.bn
    normalised = (maps[0] - bn.bias[:, None, None]) / bn.weight[:, None, None]
    assert normalised.mean(dim=(0, 2, 3)).abs().max() < 0.2
    assert (normalised.std(dim=(0, 2, 3)) - 1.0).abs().max() < 0.2
