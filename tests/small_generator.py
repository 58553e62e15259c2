"""A StyleGAN2 of 8 x 8 pixels with random weights, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.recording import record

LAYERS = ["synthesis.b4.conv1", "synthesis.b8.conv0", "synthesis.b8.conv1"]
SIZES = dict(zip(LAYERS, [(4, 4), (8, 8), (8, 8)], strict=True))
CHANNELS = 16


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    small = StyleGAN2(
        z_dim=8, c_dim=3, w_dim=12, img_resolution=8, channel_base=128, channel_max=CHANNELS,
        mapping_kwargs={"num_layers": 2},
    )  # fmt: skip
    return small.double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def statistics(generator: StyleGAN2) -> dict[str, tuple[Tensor, Tensor]]:
    z = torch.randn(64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with record(generator, LAYERS) as maps:
        generator(z, torch.eye(3, dtype=torch.float64)[torch.arange(64) % 3])
    return {
        layer: (m.mean(dim=(0, 2, 3)), m.var(dim=(0, 2, 3), unbiased=False))
        for layer, m in maps.items()
    }
