"""The layers of an alias-free generator as a checkpoint has recorded them.

The weights' shapes do not tell at which rates a network runs, nor where it clamps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.generators.geometry import LayerGeometry

Recorded = Mapping[str, Mapping[str, float | None]]
ADVICE = "Change the arguments of gen.network, or choose other weights."


def as_recorded(layers: Sequence[LayerGeometry], recorded: Recorded | None) -> list[LayerGeometry]:
    """``layers`` with the clamps of a checkpoint, after a check that they are its layers.

    Args:
        layers: in order.
        recorded: by layer, in order: of the numbers under their official names (:func:`numbers`,
            ``conv_clamp``) those that the checkpoint has. None leaves the layers as they are.

    Raises:
        RosettaError: they differ; the message names the first difference.
    """
    if recorded is None:
        return list(layers)
    names = [layer.name for layer in layers]
    for ours, theirs in zip_longest(names, recorded, fillvalue="nothing"):
        if ours != theirs:
            raise RosettaError(
                f"The checkpoint's network has {theirs} where the configuration's has {ours}.\n"
                f"{ADVICE}"
            )
    return [_as_recorded(layer, recorded[layer.name]) for layer in layers]


def _as_recorded(layer: LayerGeometry, told: Mapping[str, float | None]) -> LayerGeometry:
    for name, ours in numbers(layer).items():
        theirs = told.get(name, ours)
        if theirs is None or not math.isclose(ours, theirs, rel_tol=1e-6):
            raise RosettaError(
                f"The checkpoint's layer {layer.name} has {name}={theirs}, the configuration's "
                f"has {ours}.\n{ADVICE}"
            )
    return replace(layer, conv_clamp=told.get("conv_clamp", layer.conv_clamp))


def numbers(layer: LayerGeometry) -> dict[str, float]:
    """What has to be equal, under the official names. Filters and padding follow from it."""
    source, target = layer.source, layer.target
    return {
        "in_channels": source.channels,
        "out_channels": target.channels,
        "in_size": source.size,
        "out_size": target.size,
        "in_sampling_rate": source.rate,
        "out_sampling_rate": target.rate,
        "in_cutoff": source.cutoff,
        "out_cutoff": target.cutoff,
        "in_half_width": source.half_width,
        "out_half_width": target.half_width,
        "up_factor": layer.up,
        "down_factor": layer.down,
        "conv_kernel": layer.conv_kernel,
    }
