"""StyleGAN2 checkpoints of the rosinality implementation (``.pt``), as official names."""

from __future__ import annotations

import itertools
import logging
import re
from typing import Any

import numpy as np

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.arguments import mapping_arguments
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import damage
from rosetta_lab.models.checkpoints.state_dicts import tensors_of
from rosetta_lab.models.checkpoints.stored import StoredTensor
from rosetta_lab.models.checkpoints.tensors import TAPS, Floats, Numbers, lowpass

log = logging.getLogger(__name__)

MEAN_OF = 10_000  # mapped latents, for files without their mean
BATCH = 500  # of them at a time

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
) -> tuple[dict[str, Numbers], dict[str, Any], str]:
    """Weights under the official names, arguments of ``StyleGAN2``, and the family.

    Files of a training have no mean latent, and early ones no noise; both are made, with a fixed
    seed.

    Raises:
        RosettaError: a tensor is missing, or has a name that the format does not know.
    """
    source = tensors_of(checkpoint["g_ema"], budget)
    state: dict[str, Numbers] = {}
    for name, value in source.items():
        if CONSTANT.fullmatch(name):
            continue
        target = _target(name)
        if target is None:
            raise RosettaError(
                f"the checkpoint has an unknown tensor {name}.\n"
                "Expected StyleGAN2 with a constant input and skip connections."
            )
        if target in state:
            raise damage(f"two tensors for {target}")
        state[target] = value.reshape(_shape(target, value))
    _add_noise(state, budget)
    gained = source.get("to_rgbs.0.upsample.kernel")  # times 4, the upsampling gain
    fir = lowpass(TAPS) if gained is None else Numbers.of(gained.floats() / 4)
    for name in [name for name in state if name.endswith((".noise_const", "torgb.bias"))]:
        parent = name.rsplit(".", 2 if name.endswith("torgb.bias") else 1)[0]
        state[f"{parent}.resample_filter"] = fir
    mean = checkpoint.get("latent_avg")
    if isinstance(mean, StoredTensor):
        mean = mean.numbers(budget)
        state["mapping.w_avg"] = mean.reshape((mean.array.size,))
    else:
        state["mapping.w_avg"] = _mean_latent(state, budget)
    return state, _arguments(state), "stylegan2"


def _add_noise(state: dict[str, Numbers], budget: Budget) -> None:
    """Give every convolution the noise image that is added to its output, if it has none."""
    source = np.random.default_rng(0)
    missing = 0
    for name in sorted(state):
        match = re.fullmatch(r"(synthesis\.b(\d+)\.conv[01])\.weight", name)
        if match and f"{match[1]}.noise_const" not in state:
            size = int(match[2])
            budget.spend(8 * size**2)
            noise = source.standard_normal((size, size), dtype=np.float32)
            state[f"{match[1]}.noise_const"] = Numbers.of(noise)
            missing += 1
    if missing:
        log.warning("the checkpoint lacks the noise of %d layers; drew it with seed 0", missing)


def _mean_latent(state: dict[str, Numbers], budget: Budget) -> Numbers:
    """The mean of many mapped latents, towards which truncation moves.

    The mapping network once more, since it has to be without torch here: z of unit root mean
    square, then fully connected layers (learning rate multiplier 0.01) and leaky ReLU.
    """
    log.warning(
        "the checkpoint has no latent_avg; took the mean of %d mapped latents, seed 0", MEAN_OF
    )
    layers: list[tuple[Floats, Floats]] = []
    while f"mapping.fc{len(layers)}.weight" in state:
        name = f"mapping.fc{len(layers)}"
        layers.append((state[f"{name}.weight"].floats(), state[f"{name}.bias"].floats()))
    widths = [weight.shape[::-1] for weight, _ in layers]  # in, out
    chain = all(before[1:] == after[:1] for before, after in itertools.pairwise(widths))
    fit = all(weight.ndim == 2 and bias.shape == weight.shape[:1] for weight, bias in layers)
    if not layers or not chain or not fit:
        raise damage("no mapping network")
    budget.spend(16 * BATCH * max(map(max, widths)))
    total: Any = 0.0
    source = np.random.default_rng(0)
    for _ in range(MEAN_OF // BATCH):
        x = source.standard_normal((BATCH, layers[0][0].shape[1]), dtype=np.float32)
        x /= np.sqrt(np.square(x).mean(axis=1, keepdims=True) + 1e-8)
        for weight, bias in layers:
            x = x @ weight.T * np.float32(0.01 / np.sqrt(weight.shape[1])) + bias * 0.01
            x = np.where(x < 0, 0.2 * x, x) * np.float32(np.sqrt(2.0))
        total = total + x.sum(axis=0, dtype=np.float64)
    return Numbers.of(total / MEAN_OF)


def _target(name: str) -> str | None:
    """Official name of a tensor."""
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"style\.(\d{1,3})\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
        return f"{_convolution(int(match[1]))}.noise_const"
    match = re.fullmatch(r"(?:(conv1)|convs\.(\d\d?)|(to_rgb1)|to_rgbs\.(\d\d?))\.(.+)", name)
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


def _shape(target: str, value: Numbers) -> tuple[int, ...]:
    """Shape without the broadcasting axes that the official tensors lack."""
    if target.endswith("noise_strength"):
        return ()
    if target.endswith("torgb.bias"):
        return (value.array.size,)
    if target.endswith(("noise_const", ".const")):
        return value.shape[2:] if target.endswith("noise_const") else value.shape[1:]
    if len(value.shape) == 5:  # a convolution's weight (1, O, I, k, k)
        return value.shape[1:]
    return value.shape


def _arguments(state: dict[str, Numbers]) -> dict[str, Any]:
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
