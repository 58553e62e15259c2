"""StyleGAN2 checkpoints of the TensorFlow era (versions 4 and 5, configurations E and F).

The pickle is a tuple (G, D, Gs) of networks; Gs is the moving average. A network's state is a dict
with the arguments it was made with, its variables as arrays, its components, and the source text
of the function that builds it, which is not looked at.
"""

from __future__ import annotations

import reprlib
from collections.abc import Set
from typing import Any

import numpy as np

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.arguments import python_value, stylegan2_arguments, variant
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import Record, Symbol, name_of, refusal
from rosetta_lab.models.checkpoints.stored import PER_TENSOR
from rosetta_lab.models.checkpoints.tensors import TAPS, Floats, Numbers, lowpass
from rosetta_lab.models.checkpoints.values import ARRAY_CALLS, NDARRAY, Array

NETWORK = Symbol("dnnlib.tflib.network", "Network")
EXPECTED = "Expected StyleGAN2 of version 4 or 5, skip architecture (configuration E or F)."

RENAMED = {
    "latent_size": "z_dim",
    "label_size": "c_dim",
    "dlatent_size": "w_dim",
    "resolution": "img_resolution",
    "num_channels": "img_channels",
    "fmap_max": "channel_max",
    "resample_kernel": "resample_filter",
    "nonlinearity": "activation",
}
SAME = {"num_fp16_res", "conv_clamp", "architecture", "use_noise"}
DEFAULTS = {"z_dim": 512, "c_dim": 0, "w_dim": 512, "img_resolution": 1024, "img_channels": 3}
IGNORED = {
    *("truncation_psi", "truncation_cutoff", "style_mixing_prob", "structure", "conditioning"),
    *("fused_modconv", "randomize_noise", "w_avg_beta", "mapping_layers", "mapping_fmaps"),
    *("label_fmaps", "fmap_base", "mapping_lrmul", "mapping_nonlinearity"),
}
NEUTRAL = {
    "fmap_min": 1,
    "fmap_decay": 1,
    "normalize_latents": True,
    "dtype": "float32",
    "dlatent_avg_beta": 0.995,
}


def read_tensorflow(
    root: tuple[object, ...], symbols: Set[Symbol], budget: Budget
) -> tuple[dict[str, Numbers], dict[str, Any], str]:
    """Weights under the official PyTorch names, arguments of ``StyleGAN2``, and the family.

    Raises:
        RosettaError: the file names a global that no such file needs, or holds another network.
    """
    strange = symbols - ARRAY_CALLS.keys() - {NETWORK, NDARRAY}
    if strange:
        raise refusal(min(strange, key=str))
    if len(root) != 3:
        raise RosettaError(f"the pickle is not a tuple (G, D, Gs).\n{EXPECTED}")
    network = _state(root[2])
    variables = _variables(network, budget)
    version, function = network.get("version"), network.get("build_func_name")
    if version not in (4, 5) or function != "G_main":
        found = f"{reprlib.repr(function)} of version {reprlib.repr(version)}"
        raise RosettaError(f"the network is {found}.\n{EXPECTED}")
    given = _arguments(python_value(network.get("static_kwargs")))
    taps = given.get("resample_filter", TAPS)
    if len(taps) != len(TAPS):
        raise variant("resample_filter", taps, "4 taps")
    arrays = _convert(variables, given["img_resolution"], lowpass(taps).floats())
    state = {name: Numbers.of(array) for name, array in arrays.items()}
    return state, stylegan2_arguments(given, state), "stylegan2"


def _state(network: object) -> dict[str, Any]:
    if (
        not isinstance(network, Record)
        or network.kind != NETWORK
        or not isinstance(network.state, dict)
    ):
        raise RosettaError(f"the pickle holds something else than networks.\n{EXPECTED}")
    return network.state


def _variables(network: dict[str, Any], budget: Budget) -> dict[str, Floats]:
    """All variables by name, those of a component below its key: ``mapping/Dense0/weight``."""
    variables: dict[str, Floats] = {}
    owners = {"": network} | {
        f"{name_of(key)}/": _state(component)
        for key, component in (network.get("components") or {}).items()
    }
    for prefix, owner in owners.items():
        for own, value in owner.get("variables") or []:
            name = name_of(f"{prefix}{name_of(own)}")
            if name in variables:
                raise RosettaError(f"the variable {name} occurs twice.\nThe file is damaged.")
            if not isinstance(value, Array):
                raise refusal(f"a {type(value).__name__} as the variable {name}")
            budget.spend(PER_TENSOR + 2 * value.nbytes)
            array = value.numpy()
            if not np.issubdtype(array.dtype, np.floating):
                raise RosettaError(
                    f"the variable {name} is {array.dtype}; expected floats.\n{EXPECTED}"
                )
            variables[name] = array.astype("<f4")
    return variables


def _arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The TensorFlow keyword arguments under the names of the PyTorch implementation."""
    given = DEFAULTS | {RENAMED[name]: v for name, v in kwargs.items() if name in RENAMED}
    given |= {name: v for name, v in kwargs.items() if name in SAME}
    given["channel_base"] = 2 * kwargs.get("fmap_base", 16384)
    given["mapping_kwargs"] = {
        "lr_multiplier": kwargs.get("mapping_lrmul", 0.01),
        "activation": kwargs.get("mapping_nonlinearity", "lrelu"),
    }
    neutral = NEUTRAL | dict.fromkeys(("resolution_w", "resolution_h"), given["img_resolution"])
    for name, value in kwargs.items():
        if name in RENAMED or name in SAME or name in IGNORED:
            continue
        if name not in neutral or value != neutral[name]:
            raise RosettaError(
                f"the network was made with {name}={reprlib.repr(value)}, which is not "
                "implemented.\n"
                f"{EXPECTED}"
            )
    if "resample_kernel" in kwargs and kwargs["resample_kernel"] is None:
        given["resample_filter"] = [1, 1]
    return given


class _Names:
    """Hands out variables by name and knows which are left."""

    def __init__(self, variables: dict[str, Floats]) -> None:
        self.left = dict(variables)

    def __call__(self, name: str) -> Floats:
        try:
            return self.left.pop(name)
        except KeyError:
            raise RosettaError(f"the network has no variable {name}.\n{EXPECTED}") from None


def _convert(variables: dict[str, Floats], resolution: int, fir: Floats) -> dict[str, Floats]:
    """Official PyTorch names and layouts for the TensorFlow ones."""
    take = _Names(variables)
    take.left.pop("lod", None)  # progressive growing, which StyleGAN2 no longer does
    state = {"mapping.w_avg": take("dlatent_avg")}
    if "mapping/LabelEmbed/weight" in variables:
        state |= _dense("mapping.embed", "mapping/LabelEmbed", take)
    index = 0
    while f"mapping/Dense{index}/weight" in take.left:
        state |= _dense(f"mapping.fc{index}", f"mapping/Dense{index}", take)
        index += 1
    state["synthesis.b4.const"] = take("synthesis/4x4/Const/const")[0]
    noise = 0
    for level in range(2, int(resolution).bit_length()):
        size = 2**level
        block, source = f"synthesis.b{size}", f"synthesis/{size}x{size}"
        layers = {"conv0": "Conv0_up", "conv1": "Conv1"} if level > 2 else {"conv1": "Conv"}
        for layer, name in layers.items():
            own = _modulated(f"{block}.{layer}", f"{source}/{name}", take, mirror=layer == "conv0")
            own[f"{block}.{layer}.noise_strength"] = take(f"{source}/{name}/noise_strength")
            own[f"{block}.{layer}.noise_const"] = take(f"synthesis/noise{noise}")[0, 0]
            own[f"{block}.{layer}.resample_filter"] = fir
            state |= own
            noise += 1
        state |= _modulated(f"{block}.torgb", f"{source}/ToRGB", take)
        state[f"{block}.resample_filter"] = fir
    if take.left:
        raise RosettaError(f"the network has a variable {min(take.left)} too many.\n{EXPECTED}")
    return state


def _dense(target: str, source: str, take: _Names) -> dict[str, Floats]:
    return {
        f"{target}.weight": take(f"{source}/weight").T,
        f"{target}.bias": take(f"{source}/bias"),
    }


def _modulated(
    target: str, source: str, take: _Names, *, mirror: bool = False
) -> dict[str, Floats]:
    """A modulated convolution.

    TensorFlow correlates with the stored weight everywhere; our upsampling layer is a transposed
    convolution, hence the mirrored kernel. TensorFlow adds 1 to the style after its bias; ours
    keeps the 1 in the bias.
    """
    weight = take(f"{source}/weight").transpose(3, 2, 0, 1)  # (kh, kw, I, O) to (O, I, kh, kw)
    return {
        f"{target}.weight": np.flip(weight, (2, 3)) if mirror else weight,
        f"{target}.bias": take(f"{source}/bias"),
        f"{target}.affine.weight": take(f"{source}/mod_weight").T,
        f"{target}.affine.bias": take(f"{source}/mod_bias") + 1,
    }
