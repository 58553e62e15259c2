"""From the official generators' constructor arguments to those of this project's classes."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.rules import name_of
from rosetta_lab.models.checkpoints.tensors import Numbers
from rosetta_lab.models.checkpoints.values import Array

log = logging.getLogger(__name__)

SHARED = {
    *("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"),
    *("channel_base", "channel_max", "conv_clamp"),
}
STYLEGAN2 = SHARED | {"resample_filter"}
STYLEGAN3 = SHARED | {
    *("num_layers", "num_critical", "first_cutoff", "first_stopband", "last_stopband_rel"),
    *("margin_size", "output_scale", "conv_kernel", "use_radial_filters"),
}

# The only values that our classes implement.
FIXED = {
    "architecture": "skip",
    "activation": "lrelu",
    "use_noise": True,
    "filter_size": 6,
    "lrelu_upsampling": 2,
}
# Of training, of speed on GPUs, or taken from the weights.
WITHOUT_EFFECT = {
    *("num_fp16_res", "fused_modconv_default", "magnitude_ema_beta", "w_avg_beta"),
    *("rand_embedding", "mapping_kwargs", "synthesis_kwargs"),
    *("num_layers", "embed_features", "layer_features", "lr_multiplier", "path_stem"),
}
MAX_NODES = 1000  # values in an argument; a pickle can share one so often that it has no end
MAX_LENGTH = 100  # of a text or an array among them


def stylegan2_arguments(given: Mapping[str, Any], state: Mapping[str, Numbers]) -> dict[str, Any]:
    """Arguments of ``StyleGAN2`` for the official arguments ``given`` and the weights ``state``.

    Raises:
        RosettaError: the network is a variant that the class does not implement.
    """
    config = _select(given, STYLEGAN2)
    if len(config.get("resample_filter", (1, 3, 3, 1))) != 4:
        raise variant("resample_filter", config["resample_filter"], "4 taps")
    return config | {"mapping_kwargs": mapping_arguments(given, state)}


def stylegan3_arguments(given: Mapping[str, Any], state: Mapping[str, Numbers]) -> dict[str, Any]:
    """Arguments of ``StyleGAN3``; see :func:`stylegan2_arguments`."""
    return _select(given, STYLEGAN3) | {"mapping_kwargs": mapping_arguments(given, state)}


def stylegan_xl_arguments(given: Mapping[str, Any], state: Mapping[str, Numbers]) -> dict[str, Any]:
    """Arguments of ``StyleGANXL`` for a stem; see :func:`stylegan2_arguments`."""
    mapping = mapping_arguments(given, state)
    mapping["num_embeddings"], mapping["embedding_dim"] = state["mapping.embed.weight"].shape
    mapping.pop("embed_features", None)
    return _select(given, STYLEGAN3) | {"mapping_kwargs": mapping}


def mapping_arguments(given: Mapping[str, Any], state: Mapping[str, Numbers]) -> dict[str, Any]:
    """Arguments of the mapping network; layers and widths are those of the weights."""
    options = _select(given.get("mapping_kwargs") or {}, {"lr_multiplier"})
    layers = sum(f"mapping.fc{index}.weight" in state for index in range(len(state)))
    if not layers:
        raise RosettaError(
            "the checkpoint has no mapping network (no mapping.fc0.weight).\n"
            "Expected StyleGAN2, StyleGAN3 or StyleGAN-XL."
        )
    w_dim = state["mapping.w_avg"].shape[-1]
    arguments: dict[str, Any] = {"num_layers": layers}
    if (width := state["mapping.fc0.weight"].shape[0]) != w_dim:
        arguments["layer_features"] = width
    if "mapping.embed.weight" in state and (
        (width := state["mapping.embed.weight"].shape[0]) != w_dim
    ):
        arguments["embed_features"] = width
    return arguments | options


def _select(given: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """The ``wanted`` arguments; the others must be of no consequence, whatever they are."""
    for name in map(name_of, given.keys() - wanted - WITHOUT_EFFECT):
        if name not in FIXED:
            log.warning("the checkpoint's constructor argument %s is not known; ignored", name)
        elif (value := python_value(given[name])) != FIXED[name]:
            raise variant(name, value, repr(FIXED[name]))
    return {name: python_value(given[name]) for name in sorted(given.keys() & wanted)}


def variant(name: str, value: object, expected: str) -> RosettaError:
    """An error for a network that our classes do not implement."""
    return RosettaError(
        f"the checkpoint is a variant with {name}={reprlib.repr(value)}; "
        f"only {expected} is implemented.\nChoose another checkpoint."
    )


def python_value(value: Any, nodes: Iterator[int] | None = None) -> Any:
    """``value`` with numbers and lists in place of arrays.

    Args:
        value: what a pickle holds.
        nodes: runs out after as many values as may be looked at.

    Raises:
        RosettaError: it holds anything but numbers, short texts, lists and dicts, or no end.
    """
    nodes = nodes or iter(range(MAX_NODES))
    if next(nodes, None) is not None:
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int) and value.bit_length() < 64:
            return value
        if isinstance(value, str) and len(value) <= MAX_LENGTH:
            return value
        if isinstance(value, Array) and value.nbytes <= 8 * MAX_LENGTH:
            return value.numpy().tolist()
        if isinstance(value, list | tuple):
            return [python_value(item, nodes) for item in value]
        if isinstance(value, dict):
            return {name_of(name): python_value(item, nodes) for name, item in value.items()}
    raise RosettaError(
        f"the network's constructor was given a {type(value).__name__}; expected plain values.\n"
        "The file is damaged or of another kind."
    )
