"""Checkpoints of the NVlabs PyTorch tools: StyleGAN2(-ADA), StyleGAN3, and StyleGAN-XL.

Such a pickle is a dict whose ``G_ema`` is a network object: class name, the *source text* of its
module, and its attributes. The attributes are all that is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.arguments import (
    stylegan2_arguments,
    stylegan3_arguments,
    stylegan_xl_arguments,
)
from rosetta_lab.models.checkpoints.pickles import Record, refusal
from rosetta_lab.models.checkpoints.values import Array, StoredTensor

MAX_MODULES = 10_000  # a pickle can share one module so often that walking it never ends
MAX_NODES = 10_000  # values among the constructor arguments, for the same reason
POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")


def read_nvlabs(root: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any] | None, str]:
    """Weights, constructor arguments and family of the moving-average generator in ``root``.

    The arguments are None for a StyleGAN-XL with superresolution stages: such a file does not
    tell what its stem was made with.

    Raises:
        RosettaError: ``G_ema`` is not a generator of a known family.
    """
    network = root["G_ema"]
    if not isinstance(network, Record):
        raise RosettaError("G_ema is not a network.\nExpected a pickle of the NVlabs tools.")
    modules = dict(walk(network))
    state = state_dict(modules)
    given = _given(network, modules)
    if "synthesis.b4.const" in state:
        given.setdefault("conv_clamp", None if "synthesis_kwargs" in given else 256)
        return state, stylegan2_arguments(given, state), "stylegan2"
    if "synthesis.input.weight" not in state or "mapping.w_avg" not in state:
        raise RosettaError(
            f"the generator ({network.kind.name}) is none that is known.\n"
            "Expected StyleGAN2, StyleGAN3 or StyleGAN-XL."
        )
    embed = "mapping.embed.weight" in state
    if not embed or "mapping.embed.bias" in state:
        return state, stylegan3_arguments(given, state), "stylegan3"
    stem = network.kind.name != "SuperresGenerator"
    return state, stylegan_xl_arguments(given, state) if stem else None, "stylegan_xl"


def walk(network: Record, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and attributes of ``network`` ("") and of all modules below it, parents first."""
    queue = [(prefix, network)]
    for _ in range(MAX_MODULES):
        if not queue:
            return
        name, module = queue.pop()
        where = name or "the network"
        if not isinstance(module, Record) or not isinstance(module.state, dict):
            raise RosettaError(f"{where} is not a module.\nThe file is damaged or of another kind.")
        if "_parameters" not in module.state and module.args:  # what a noted call left behind
            raise refusal(f"{module.kind} as {where}")
        yield name, module.state
        children = module.state.get("_modules") or {}
        queue += [(f"{name}.{k}" if name else k, m) for k, m in children.items() if m is not None]
    raise RosettaError(f"the network has more than {MAX_MODULES} modules.\nThe file is damaged.")


def state_dict(modules: dict[str, dict[str, Any]]) -> dict[str, Tensor]:
    """Parameters and persistent buffers by their full names."""
    state = {}
    for prefix, attributes in modules.items():
        transient = attributes.get("_non_persistent_buffers_set") or ()
        buffers = attributes.get("_buffers") or {}
        own = {
            **(attributes.get("_parameters") or {}),
            **{name: value for name, value in buffers.items() if name not in transient},
        }
        for name, value in own.items():
            full = f"{prefix}.{name}" if prefix else name
            if value is None:
                continue
            if not isinstance(value, StoredTensor):
                wanted = value.kind if isinstance(value, Record) else type(value).__name__
                raise refusal(f"{wanted} as the tensor {full}")
            state[full] = value.tensor()
    return state


def _given(network: Record, modules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Constructor arguments: the recorded ones, corrected by the attributes of the live object."""
    attributes = modules[""]
    given = dict(zip(POSITIONAL, attributes.get("_init_args") or (), strict=False))
    given |= attributes.get("_init_kwargs") or {}
    given |= given.get("synthesis_kwargs") or {}
    given |= {name: attributes[name] for name in POSITIONAL if name in attributes}
    synthesis = {name: m for name, m in modules.items() if name.startswith("synthesis")}
    if "output_scale" in synthesis.get("synthesis", {}):
        given["output_scale"] = synthesis["synthesis"]["output_scale"]
    clamps = {plain(m["conv_clamp"]) for m in synthesis.values() if "conv_clamp" in m}
    if len(clamps) == 1:
        given["conv_clamp"] = clamps.pop()
    return dict(plain(given))


def plain(value: Any, nodes: Iterator[int] | None = None) -> Any:
    """``value`` with numbers and lists in place of arrays.

    Args:
        value: what a pickle holds.
        nodes: counts the values that were looked at, which nesting can make endless.

    Raises:
        RosettaError: it holds anything but numbers, text, lists and dicts, or no end of them.
    """
    nodes = nodes or itertools.count()
    if next(nodes) < MAX_NODES:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Array):
            return value.numpy().tolist()
        if isinstance(value, list | tuple):
            return [plain(item, nodes) for item in value]
        if isinstance(value, dict) and all(isinstance(name, str) for name in value):
            return {name: plain(item, nodes) for name, item in value.items()}
    raise RosettaError(
        f"the network's constructor was given a {type(value).__name__}; expected plain values.\n"
        "The file is damaged or of another kind."
    )
