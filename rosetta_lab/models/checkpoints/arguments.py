"""From the official generators' constructor arguments to those of this project's classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rosetta_lab.errors import RosettaError

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
    *("num_layers", "embed_features", "layer_features", "lr_multiplier"),
}


def stylegan2_arguments(given: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of ``StyleGAN2`` for the official arguments ``given`` and the weights ``state``.

    Raises:
        RosettaError: the network is a variant that the class does not implement.
    """
    config = _select(given, STYLEGAN2)
    if len(config.get("resample_filter", (1, 3, 3, 1))) != 4:
        raise _variant("resample_filter", config["resample_filter"], "4 taps")
    return config | {"mapping_kwargs": mapping_arguments(given, state)}


def stylegan3_arguments(given: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of ``StyleGAN3``; see :func:`stylegan2_arguments`."""
    return _select(given, STYLEGAN3) | {"mapping_kwargs": mapping_arguments(given, state)}


def stylegan_xl_arguments(given: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of ``StyleGANXL`` for a stem; see :func:`stylegan2_arguments`."""
    mapping = mapping_arguments(given, state)
    mapping["num_embeddings"], mapping["embedding_dim"] = state["mapping.embed.weight"].shape
    mapping.pop("embed_features", None)
    return _select(given, STYLEGAN3) | {"mapping_kwargs": mapping}


def mapping_arguments(given: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the mapping network; layers and widths are those of the weights."""
    options = dict(given.get("mapping_kwargs") or {})
    _select(options, set())
    layers = sum(f"mapping.fc{index}.weight" in state for index in range(len(state)))
    if not layers:
        raise RosettaError("the checkpoint has no mapping network (no mapping.fc0.weight).")
    w_dim = state["mapping.w_avg"].shape[-1]
    arguments: dict[str, Any] = {"num_layers": layers}
    if (width := state["mapping.fc0.weight"].shape[0]) != w_dim:
        arguments["layer_features"] = width
    if "mapping.embed.weight" in state and (
        (width := state["mapping.embed.weight"].shape[0]) != w_dim
    ):
        arguments["embed_features"] = width
    if "lr_multiplier" in options:
        arguments["lr_multiplier"] = options["lr_multiplier"]
    return arguments


def _select(given: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """The ``wanted`` arguments; the others must be of no consequence."""
    for name in given.keys() - wanted - WITHOUT_EFFECT:
        if name not in FIXED:
            log.warning("the checkpoint's constructor argument %s is not known; ignored", name)
        elif given[name] != FIXED[name]:
            raise _variant(name, given[name], repr(FIXED[name]))
    return {name: given[name] for name in sorted(given.keys() & wanted)}


def _variant(name: str, value: object, expected: str) -> RosettaError:
    return RosettaError(
        f"the checkpoint is a variant with {name}={value!r:.60}; only {expected} is implemented.\n"
        "Choose another checkpoint."
    )
