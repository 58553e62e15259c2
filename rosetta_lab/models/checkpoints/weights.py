"""Weights, and putting them into networks whose sizes somebody told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.state_dicts import unwrapped

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
# What a network may have beyond its file, for tensors that are in no file.
SPARE_TENSORS, SPARE_NUMBERS = 1000, 1 << 22
UNTRAINED_TENSORS, UNTRAINED_NUMBERS = 1 << 14, 1 << 28  # of others, with random weights


@dataclass(frozen=True)
class Weights:
    """A network's weights and what their file tells about the network.

    Attributes:
        state_dict: tensors by name, on the CPU, without the prefixes of wrappers.
        config: constructor arguments, where the file tells them.
        family: ``stylegan2``, ``stylegan3``, ``stylegan_xl``, ``biggan_deep``; None for others.
        source: where the weights came from, as given, less what is nobody else's business.
        sha256: of the file that they came from.
        file: the safetensors that they were read from, if any: some libraries want one.
        stored: the tensors under the names in the file, where those are others.
    """

    state_dict: dict[str, Tensor] = field(repr=False)
    config: dict[str, Any] | None
    family: str | None
    source: str
    sha256: str
    file: Path | None = None
    stored: dict[str, Tensor] | None = field(default=None, repr=False)


def build(make: Callable[[], Network], weights: Weights) -> Network:
    """The network that ``make`` makes, with ``weights``.

    It is made twice, first on the ``meta`` device, where tensors have shapes but no contents, and
    no further than the weights account for.

    Args:
        make: constructor with all of its arguments. One that needs the contents of its tensors
            cannot be made on ``meta``, and is only held to the weights' size as it is made.
        weights: what it has to fit.

    Raises:
        RosettaError: they are of another network, or there is no network of such arguments.
    """
    found = skeleton(make, weights)
    if found is not None:
        check_fit(found, weights)
    try:
        with no_larger_than(weights):
            network = make()
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if weights.config is None:
            raise
        raise RosettaError(
            f"{weights.source}: there is no network of the arguments that the checkpoint tells: "
            f"{' '.join(str(error).split())[:200]}\nChoose other weights."
        ) from error
    load_into(network, weights)
    return network


def made(make: Callable[[], Network], weights: Weights | None = None) -> Network:
    """The network that ``make`` makes, no larger than :func:`skeleton` allows, wherever it is made.

    Raises:
        RosettaError: see there.
    """
    skeleton(make, weights)
    with no_larger_than(weights):
        return make()


def skeleton(make: Callable[[], Network], weights: Weights | None = None) -> Network | None:
    """The network that ``make`` makes on the ``meta`` device, where it takes no memory.

    Args:
        make: see :func:`build`.
        weights: what accounts for its size; None for random ones, which nothing accounts for.

    Returns:
        None where it cannot be made there.

    Raises:
        RosettaError: it is far larger than ``weights``, or than networks are without any.
    """
    try:
        with torch.device("meta"), torch.random.fork_rng([]), no_larger_than(weights):
            return make()
    except RosettaError:
        raise
    except Exception as error:  # any kind: it is a stranger's constructor, or his arguments
        log.debug("%s cannot be made on meta: %s", make, error)
        return None


@contextmanager
def no_larger_than(weights: Weights | None) -> Iterator[None]:
    """Raise as soon as modules that are made have more tensors, or larger ones, than ``weights``.

    Raises:
        RosettaError: they have; the message says how many the weights have.
    """
    tensors_left, numbers_left = UNTRAINED_TENSORS, UNTRAINED_NUMBERS
    reason = f"A network of random weights has more than {numbers_left:,} numbers"
    advice = "Use a dictionary of networks that were trained, or of smaller ones."
    if weights is not None:
        state = weights.state_dict
        numbers = sum(tensor.numel() for tensor in state.values())
        tensors_left, numbers_left = 2 * len(state) + SPARE_TENSORS, 2 * numbers + SPARE_NUMBERS
        reason = (
            f"{weights.source} does not fit: the network is far larger than its "
            f"{len(state)} tensors of {numbers:,} numbers"
        )
        advice = "Choose the weights of this architecture, or change the architecture's arguments."

    def count(_: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal tensors_left, numbers_left
        tensors_left -= 1
        numbers_left -= 0 if tensor is None else tensor.numel()
        if tensors_left < 0 or numbers_left < 0:
            raise RosettaError(f"{reason} (at {name}).\n{advice}")

    handles = [
        register(count)
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        )
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def load_into(module: nn.Module, weights: Weights) -> None:
    """Copy ``weights`` into ``module``; see :func:`check_fit`."""
    given = check_fit(module, weights)
    module.load_state_dict(given, strict=False)


def check_fit(module: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """The tensors of ``module``, after checking that names, shapes and types agree.

    Args:
        module: takes the weights.
        weights: from :func:`load_weights`.

    Raises:
        RosettaError: they differ; the message lists the first few.
    """
    own = module.state_dict()
    given = fitting(weights, own)
    wrong = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "of another shape": [
            f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in given and own[name].shape != given[name].shape
        ],
        "of another type": [
            f"{name} {given[name].dtype} instead of {own[name].dtype}"
            for name in own
            if name in given and not _means_the_same(given[name], own[name].dtype)
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in wrong.items()
            if names
        )
        raise RosettaError(
            f"{weights.source} does not fit {type(module).__name__}: {listed}.\n"
            "Choose the weights of this architecture, or change the architecture's arguments."
        )
    return {name: value for name, value in given.items() if name in own}


def _means_the_same(value: Tensor, kind: torch.dtype) -> bool:
    """Whether a tensor can be of the type ``kind`` as well: whole numbers are never weights."""
    if kind.is_floating_point:
        return value.is_floating_point()
    return torch.equal(value.to(kind).to(value.dtype), value)


def fitting(weights: Weights, own: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors under those names, with the prefixes of wrappers or without, that are ``own``.

    A network may have modules that are called as some wrapper is.
    """
    known = own.keys()
    choices = [weights.state_dict, *unwrapped(weights.stored or {})]
    return max(choices, key=lambda state: len(known & state.keys()))
