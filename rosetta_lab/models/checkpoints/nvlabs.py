"""Checkpoints of the NVlabs PyTorch tools: StyleGAN2(-ADA), StyleGAN3, and StyleGAN-XL.

Such a pickle is a dict whose ``G_ema`` is a network object: class name, the *source text* of its
module, and its attributes. The attributes are all that is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.arguments import (
    python_value,
    stylegan2_arguments,
    stylegan3_arguments,
    stylegan_xl_arguments,
    variant,
)
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import Record, damage, name_of, refusal
from rosetta_lab.models.checkpoints.stored import StoredTensor
from rosetta_lab.models.checkpoints.tensors import Numbers

MAX_MODULES = 10_000  # a pickle can share one module so often that walking it never ends
PER_MODULE = 500  # bytes
POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
# What a layer of an alias-free generator has; its padding and its filters' sizes follow from these.
RECORDED = (
    *("in_channels", "out_channels", "in_size", "out_size", "in_sampling_rate"),
    *("out_sampling_rate", "in_cutoff", "out_cutoff", "in_half_width", "out_half_width"),
    *("up_factor", "down_factor", "conv_kernel", "conv_clamp"),
)


def read_nvlabs(
    root: Mapping[Any, Any], budget: Budget
) -> tuple[dict[str, Numbers], dict[str, Any], str]:
    """Weights, constructor arguments and family of the moving-average generator ``G_ema``.

    A StyleGAN-XL with superresolution stages does not tell what its stem was made with. Of its
    synthesis network there are only the ``recorded`` layers then, to compare with.

    Raises:
        RosettaError: ``G_ema`` is not a generator of a known family.
    """
    network = root["G_ema"]
    if not isinstance(network, Record):
        raise RosettaError("G_ema is not a network.\nExpected a pickle of the NVlabs tools.")
    modules = dict(walk(network, budget))
    state = state_dict(modules, budget)
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
        budget.spend(PER_MODULE + len(name))
        yield name, module.state
        children = module.state.get("_modules") or {}
        for own, child in children.items():
            if child is not None:
                queue.append((joined(name, own), child))
    raise RosettaError(f"the network has more than {MAX_MODULES} modules.\nThe file is damaged.")


def joined(prefix: str, name: object) -> str:
    """Full name of a part of the module ``prefix``."""
    own = name_of(name)
    if "." in own:
        raise damage(f"{own} as the name of one part")
    return name_of(f"{prefix}.{own}") if prefix else own


def state_dict(modules: dict[str, dict[str, Any]], budget: Budget) -> dict[str, Numbers]:
    """Parameters and persistent buffers by their full names."""
    state = {}
    for prefix, attributes in modules.items():
        transient = set(map(name_of, attributes.get("_non_persistent_buffers_set") or ()))
        buffers = attributes.get("_buffers") or {}
        own = {
            **(attributes.get("_parameters") or {}),
            **{name: value for name, value in buffers.items() if name not in transient},
        }
        for name, value in own.items():
            full = joined(prefix, name)
            if value is None:
                continue
            if not isinstance(value, StoredTensor):
                wanted = value.kind if isinstance(value, Record) else type(value).__name__
                raise refusal(f"{wanted} as the tensor {full}")
            budget.spend(len(full))
            state[full] = value.numbers(budget)
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


def _clamps(modules: dict[str, dict[str, Any]]) -> list[float | None]:
    """The different limits that the layers clamp to."""
    clamps: dict[float | None, None] = {}
    for name, attributes in modules.items():
        if name.startswith("synthesis.") and "conv_clamp" in attributes:
            clamp = _number(attributes["conv_clamp"])
            clamps[clamp] = None
    return list(clamps)


def _recorded(modules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """``recorded``: numbers of all layers in the order in which they run, if the file has them."""
    names = python_value(modules["synthesis"].get("layer_names"))
    if names is None:
        return {}
    layers = {}
    for name in names:
        attributes = modules[joined("synthesis", name)]
        layers[name] = {key: _number(attributes[key]) for key in RECORDED if key in attributes}
    return {"recorded": layers}


def _number(value: Any) -> float | None:
    """A number, or the one number of a square's size (width, height)."""
    found = python_value(value, iter(range(3)))
    if isinstance(found, list) and len(found) == 2 and found[0] == found[1]:
        found = found[0]
    if found is not None and not isinstance(found, int | float):
        raise damage(f"{found!r} for a number, or the sides of a square")
    return found
