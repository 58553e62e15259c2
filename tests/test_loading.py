"""What a checkpoint says of its network, against what a configuration says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from rosetta_lab.errors import RosettaError
from rosetta_lab.loading import load_generator
from rosetta_lab.models.generators.stylegan2 import StyleGAN2

ARGUMENTS = {
    "z_dim": 8, "w_dim": 8, "img_resolution": 16, "channel_base": 128, "channel_max": 8,
    "mapping_kwargs": {"num_layers": 1},
}  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A network that clamps, with its arguments beside its weights."""
    torch.manual_seed(0)
    network = StyleGAN2(**ARGUMENTS, conv_clamp=0.5)
    path = tmp_path / "network.safetensors"
    metadata = {"config": json.dumps(ARGUMENTS | {"conv_clamp": 0.5}), "family": "stylegan2"}
    save_file(network.state_dict(), path, metadata)
    return str(path)


def config(weights: str, **arguments: object):
    target = "rosetta_lab.models.generators.stylegan2.StyleGAN2"
    return OmegaConf.create(
        {"network": {"_target_": target, **ARGUMENTS, **arguments}, "weights": weights}
    )


def test_what_the_configuration_leaves_open_comes_from_the_checkpoint(checkpoint: str) -> None:
    generator = load_generator(config(checkpoint))
    assert generator.synthesis.b16.conv1.conv_clamp == 0.5
    z = 50.0 * torch.randn(2, 8)
    expected = StyleGAN2(**ARGUMENTS, conv_clamp=0.5).eval()
    expected.load_state_dict(generator.state_dict())
    torch.testing.assert_close(generator(z), expected(z))


def test_a_contradiction_is_told(checkpoint: str) -> None:
    with pytest.raises(RosettaError, match=r"conv_clamp=0.5, the configuration says 256"):
        load_generator(config(checkpoint, conv_clamp=256))
