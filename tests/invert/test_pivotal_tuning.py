"""Pivotal tuning: the copy learns one image, the original and the pivot stay."""

from __future__ import annotations

import torch

from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.pivotal_tuning import pivotal_tuning
from rosetta_lab.models.generators.stylegan2 import StyleGAN2


def test_tunes_a_copy_for_one_image() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(
        z_dim=8, w_dim=8, img_resolution=16, channel_base=128, channel_max=8,
        mapping_kwargs={"num_layers": 1},
    ).eval().requires_grad_(False)  # fmt: skip
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    code = LatentCode(generator, "w", generator.map(torch.randn(1, 8)))
    pivot = code.value.detach().clone()
    image = torch.rand(1, 3, 16, 16)

    def error(network: StyleGAN2) -> float:
        shown = network.to_unit_range(network.synthesize(code().detach()))
        return float((shown - image).square().mean())

    tuned = pivotal_tuning(code, image, None, steps=60, lr=1e-2)
    assert error(tuned) < 0.5 * error(generator)
    assert torch.equal(code.value, pivot)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert not any(p.requires_grad for p in tuned.parameters())
