"""StyleGAN2 checkpoints of the rosinality implementation (``.pt``), as official names."""

from __future__ import annotations

import logging
import re
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.arguments import mapping_arguments
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.tensors import dense
from rosetta_lab.models.generators.layers import fir_kernel
from rosetta_lab.models.generators.mapping import MappingNetwork

log = logging.getLogger(__name__)

MEAN_OF = 10_000  # mapped latents, for files without their mean

# Names within a layer.
SUFFIXES = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
CONSTANT = re.compile(r"(convs\.\d+\.conv\.blur|to_rgbs\.\d+\.upsample)\.kernel")


def is_rosinality(checkpoint: object) -> bool:
    """Whether ``checkpoint`` has the moving-average generator under its usual names."""
    network = checkpoint.get("g_ema") if isinstance(checkpoint, dict) else None
    return isinstance(network, dict) and {"style.1.weight", "input.input"} <= network.keys()


def read_rosinality(
    checkpoint: dict[str, Any], budget: Budget
) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Weights under the official names, arguments of ``StyleGAN2``, and the family.

    Files of a training have no mean latent, and early ones no noise; both are made, with a fixed
    seed.

    Raises:
        RosettaError: a tensor is missing, or has a name that the format does not know.
    """
    source = {
        name: dense(value, name, budget)
        for name, value in checkpoint["g_ema"].items()
        if not CONSTANT.fullmatch(name)
    }
    state: dict[str, Tensor] = {}
    for name, value in source.items():
        target = _target(name)
        if target is None:
            raise RosettaError(
                f"the checkpoint has an unknown tensor {name}.\n"
                "Expected StyleGAN2 with a constant input and skip connections."
            )
        state[target] = value.reshape(_shape(target, value))
    _add_noise(state)
    gained = checkpoint["g_ema"].get("to_rgbs.0.upsample.kernel")  # times 4, the upsampling gain
    fir = fir_kernel([1, 3, 3, 1]) if gained is None else dense(gained) / 4
    for name in [name for name in state if name.endswith((".noise_const", "torgb.bias"))]:
        parent = name.rsplit(".", 2 if name.endswith("torgb.bias") else 1)[0]
        state[f"{parent}.resample_filter"] = fir.clone()
    mean = checkpoint.get("latent_avg")
    if not isinstance(mean, Tensor):
        mean = _mean_latent(state)
    state["mapping.w_avg"] = dense(mean, "latent_avg").reshape(-1)
    return state, _arguments(state), "stylegan2"


def _add_noise(state: dict[str, Tensor]) -> None:
    """Give every convolution the noise image that is added to its output, if it has none."""
    source = torch.Generator().manual_seed(0)
    missing = 0
    for name in sorted(state):
        match = re.fullmatch(r"(synthesis\.b(\d+)\.conv[01])\.weight", name)
        if match and f"{match[1]}.noise_const" not in state:
            size = int(match[2])
            state[f"{match[1]}.noise_const"] = torch.randn(size, size, generator=source)
            missing += 1
    if missing:
        log.warning("the checkpoint lacks the noise of %d layers; drew it with seed 0", missing)


@torch.no_grad()
def _mean_latent(state: dict[str, Tensor]) -> Tensor:
    """The mean of many mapped latents, towards which truncation moves."""
    log.warning(
        "the checkpoint has no latent_avg; took the mean of %d mapped latents, seed 0", MEAN_OF
    )
    width, z_dim = state["mapping.fc0.weight"].shape
    mapping = {
        name.removeprefix("mapping."): value
        for name, value in state.items()
        if name.startswith("mapping.")
    }
    mapping["w_avg"] = torch.zeros(width)
    arguments = mapping_arguments({}, {f"mapping.{name}": value for name, value in mapping.items()})
    network = MappingNetwork(z_dim, 0, width, num_ws=1, **arguments)
    network.load_state_dict(mapping)
    z = torch.randn(MEAN_OF, z_dim, generator=torch.Generator().manual_seed(0))
    mean: Tensor = network(z)[:, 0].mean(dim=0)
    return mean


def _target(name: str) -> str | None:
    """Official name of a tensor."""
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"{_convolution(int(match[1]))}.noise_const"
    match = re.fullmatch(r"(?:(conv1)|convs\.(\d+)|(to_rgb1)|to_rgbs\.(\d+))\.(.+)", name)
    if match is None or match[5] not in SUFFIXES:
        return None
    if match[1] or match[2]:
        layer = _convolution(0 if match[1] else int(match[2]) + 1)
    else:
        layer = f"synthesis.b{4 if match[3] else 8 << int(match[4])}.torgb"
    return f"{layer}.{SUFFIXES[match[5]]}"


def _convolution(index: int) -> str:
    """Official name of the convolution number ``index``: two per resolution, only one at 4 px."""
    return f"synthesis.b{4 << (index + 1) // 2}.conv{1 if index % 2 == 0 else 0}"


def _shape(target: str, value: Tensor) -> torch.Size | tuple[int, ...]:
    """Shape without the broadcasting axes that the official tensors lack."""
    if target.endswith("noise_strength"):
        return ()
    if target.endswith("torgb.bias"):
        return (value.numel(),)
    if target.endswith(("noise_const", ".const")):
        return value.shape[2:] if target.endswith("noise_const") else value.shape[1:]
    if value.dim() == 5:  # a convolution's weight (1, O, I, k, k)
        return value.shape[1:]
    return value.shape


def _arguments(state: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of ``StyleGAN2``; everything can be read off the shapes."""
    channels = {}
    for name, value in state.items():
        if match := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name):
            channels[int(match[1])] = value.shape[0]
    if not channels:
        raise RosettaError("the checkpoint has no convolutions.\nExpected StyleGAN2.")
    z_dim = state["mapping.fc0.weight"].shape[1]
    return {
        "z_dim": z_dim,
        "c_dim": 0,
        "w_dim": state["mapping.w_avg"].shape[0],
        "img_resolution": max(channels),
        "img_channels": state["synthesis.b4.torgb.bias"].shape[0],
        "channels": [channels[size] for size in sorted(channels)],
        "mapping_kwargs": mapping_arguments({}, state),
    }
