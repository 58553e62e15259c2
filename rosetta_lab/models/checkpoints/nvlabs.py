"""Checkpoints of the NVlabs PyTorch tools: StyleGAN2(-ADA), StyleGAN3, and StyleGAN-XL.

Such a pickle is a dict whose ``G_ema`` is a network object: class name, the *source text* of its
module, and its attributes. The attributes are all that is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.arguments import (
    plain,
    stylegan2_arguments,
    stylegan3_arguments,
    stylegan_xl_arguments,
    variant,
)
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.pickles import Pickle
from rosetta_lab.models.checkpoints.rules import Record, refusal
from rosetta_lab.models.checkpoints.values import StoredTensor

MAX_MODULES = 10_000  # a pickle can share one module so often that walking it never ends
POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
# What a layer of an alias-free generator has; its padding and its filters' sizes follow from these.
RECORDED = (
    *("in_channels", "out_channels", "in_size", "out_size", "in_sampling_rate"),
    *("out_sampling_rate", "in_cutoff", "out_cutoff", "in_half_width", "out_half_width"),
    *("up_factor", "down_factor", "conv_kernel", "conv_clamp"),
)


def read_nvlabs(pickle: Pickle) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Weights, constructor arguments and family of the moving-average generator ``G_ema``.

    A StyleGAN-XL with superresolution stages does not tell what its stem was made with. Of its
    synthesis network there are only the ``recorded`` layers then, to compare with.

    Raises:
        RosettaError: ``G_ema`` is not a generator of a known family.
    """
    root: Any = pickle.root
    network = root["G_ema"]
    if not isinstance(network, Record):
        raise RosettaError("G_ema is not a network.\nExpected a pickle of the NVlabs tools.")
    modules = dict(walk(network, pickle.budget))
    state = state_dict(modules, pickle.budget)
    given, clamps = _given(modules), _clamps(modules)
    if len(clamps) == 1:
        given["conv_clamp"] = clamps[0]
    if "synthesis.b4.const" in state:
        if len(clamps) > 1:
            raise variant("conv_clamp", clamps, "one limit for all layers")
        given.setdefault("conv_clamp", None if "synthesis_kwargs" in given else 256)
        return state, stylegan2_arguments(given, state), "stylegan2"
    if "synthesis.input.weight" not in state or "mapping.w_avg" not in state:
        raise RosettaError(
            f"the generator ({network.kind.name}) is none that is known.\n"
            "Expected StyleGAN2, StyleGAN3 or StyleGAN-XL."
        )
    recorded = _recorded(modules)
    embed = "mapping.embed.weight" in state
    if not embed or "mapping.embed.bias" in state:
        return state, stylegan3_arguments(given, state) | recorded, "stylegan3"
    if network.kind.name == "SuperresGenerator":  # its own arguments are the last stage's
        given = {name: given[name] for name in given.keys() & {"output_scale"}}
    return state, stylegan_xl_arguments(given, state) | recorded, "stylegan_xl"


def walk(network: Record, budget: Budget) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and attributes of ``network`` ("") and of all modules below it, parents first."""
    queue = [("", network)]
    for _ in range(MAX_MODULES):
        if not queue:
            return
        name, module = queue.pop()
        where = name or "the network"
        if not isinstance(module, Record) or not isinstance(module.state, dict):
            raise RosettaError(f"{where} is not a module.\nThe file is damaged or of another kind.")
        if "_parameters" not in module.state and module.args:  # what a noted call left behind
            raise refusal(f"{module.kind} as {where}")
        budget.spend(len(name))
        yield name, module.state
        children = module.state.get("_modules") or {}
        queue += [(f"{name}.{k}" if name else k, m) for k, m in children.items() if m is not None]
    raise RosettaError(f"the network has more than {MAX_MODULES} modules.\nThe file is damaged.")


def state_dict(modules: dict[str, dict[str, Any]], budget: Budget) -> dict[str, Tensor]:
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
            budget.spend(len(full) + value.nbytes)
            state[full] = value.tensor()
    return state


def _given(modules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Constructor arguments: the recorded ones, corrected by the attributes of the live object."""
    attributes, synthesis = modules[""], modules.get("synthesis", {})
    given = dict(zip(POSITIONAL, attributes.get("_init_args") or (), strict=False))
    given |= attributes.get("_init_kwargs") or {}
    given |= given.get("synthesis_kwargs") or {}
    given |= {name: attributes[name] for name in POSITIONAL if name in attributes}
    given |= {name: synthesis[name] for name in ("output_scale",) if name in synthesis}
    return given


def _clamps(modules: dict[str, dict[str, Any]]) -> list[Any]:
    """The different limits that the layers clamp to."""
    clamps: list[Any] = []
    for name, attributes in modules.items():
        if name.startswith("synthesis.") and "conv_clamp" in attributes:
            clamp = plain(attributes["conv_clamp"])
            clamps += [] if clamp in clamps else [clamp]
    return clamps


def _recorded(modules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """``recorded``: numbers of all layers in the order in which they run, if the file has them."""
    names = plain(modules["synthesis"].get("layer_names"))
    if names is None:
        return {}
    layers = {}
    for name in names:
        attributes = modules[f"synthesis.{name}"]
        layers[name] = {
            key: _side(key, plain(attributes[key])) for key in RECORDED if key in attributes
        }
    return {"recorded": layers}


def _side(name: str, value: Any) -> Any:
    """One number for a size (width, height) of a square."""
    if isinstance(value, list):
        if len(value) != 2 or value[0] != value[1]:
            raise variant(name, value, "a square")
        return value[0]
    return value
