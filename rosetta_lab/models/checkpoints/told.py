"""Constructor arguments that a checkpoint tells, checked before anybody uses them.

They come from outside: from a pickle, from JSON beside or inside the weights. Only values of the
types that the constructor declares get through, and they are passed on as plain Python arguments,
never through Hydra or OmegaConf, which would act upon a ``_target_`` or ``${...}`` among them.
"""

from __future__ import annotations

import inspect
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from rosetta_lab.errors import RosettaError

MOST_LAYERS = 200
LARGEST_NUMBER = 1 << 20
# Those of which the time or the memory grows faster, or that no tensor's shape confirms.
LARGEST = {
    **{"img_resolution": 8192, "output_dim": 8192, "margin_size": 1000, "conv_kernel": 100},
    **dict.fromkeys(("num_layers", "num_critical", "attention_layer_position"), MOST_LAYERS),
}


def open_arguments(
    kind: type, given: Mapping[str, Any], told: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """Arguments that a checkpoint tells and a configuration leaves open.

    Options of options, as in ``mapping_kwargs``, are merged one by one.

    Args:
        kind: class of the network.
        given: the configuration's arguments.
        told: the checkpoint's. Those that the class does not have are left out.
        source: of the checkpoint, for messages.

    Raises:
        RosettaError: a value is of another type than the class declares, or contradicts ``given``.
    """
    declared = declared_types(kind)
    usable = {name: value for name, value in told.items() if name in declared}
    for name, value in usable.items():
        if not fits(value, declared[name]) or not is_modest(value, name):
            raise RosettaError(
                f"{source}: refused: the checkpoint tells {name}={reprlib.repr(value)}, expected "
                f"{expected(declared[name])} of the size that networks have.\n"
                "The file is damaged or was tampered with: get it from its official source."
            )
    return _merged(given, usable)


def parse_arguments(text: str, source: str) -> dict[str, Any]:
    """Arguments written as JSON in the file ``source``.

    Raises:
        RosettaError: it is something else.
    """
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise RosettaError(
            f"{source}: expected constructor arguments as a JSON object, found "
            f"{reprlib.repr(text)}.\n"
            "The file is damaged or of another kind: get it from its official source."
        )
    return arguments


def declared_types(kind: type) -> dict[str, Any]:
    """Declared types of a constructor's arguments, those of ``**name: Unpack[...]`` among them."""
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    declared: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            declared |= {name: hints[name]} if name in hints else {}
        elif get_origin(hints.get(name)) is Unpack:
            declared |= get_type_hints(*get_args(hints[name]))
    return declared


def fits(value: object, declared: Any) -> bool:
    """Whether ``value``, of plain Python types, is what the annotation ``declared`` asks for."""
    origin, args = get_origin(declared), get_args(declared)
    if origin in (Union, UnionType):
        return any(fits(value, arg) for arg in args)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(
            fits(name, args[0]) and fits(item, args[1]) for name, item in value.items()
        )
    if origin in (tuple, list, Sequence):
        if not isinstance(value, list | tuple):
            return False
        if origin is not tuple or args[-1] is ...:
            args = args[:1] * len(value)
        return len(value) == len(args) and all(map(fits, value, args))
    if declared is float:
        return type(value) is int or (isinstance(value, float) and math.isfinite(value))
    return declared in (int, bool, str, NoneType) and type(value) is declared


def is_modest(value: object, name: str) -> bool:
    """Whether no number in ``value``, nor its length, is larger than any network's.

    Text can be printed as it is.
    """
    if isinstance(value, str):
        return len(value) <= MOST_LAYERS and value.isprintable()
    if isinstance(value, Mapping):
        return len(value) <= MOST_LAYERS and all(
            is_modest(name, name) and is_modest(item, name) for name, item in value.items()
        )
    if isinstance(value, list | tuple):
        return len(value) <= MOST_LAYERS and all(is_modest(item, name) for item in value)
    if type(value) is int:
        return 0 <= value <= LARGEST.get(name, LARGEST_NUMBER)
    return not isinstance(value, float) or abs(value) <= LARGEST_NUMBER


def expected(declared: Any) -> str:
    """An annotation as it is written."""
    text = declared.__name__ if declared in (int, float, bool, str) else str(declared)
    return text.replace("collections.abc.", "")


def _merged(given: Mapping[str, Any], told: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What ``given`` leaves open of ``told``; options that are in both are compared."""
    merged = {}
    for name, value in told.items():
        key, own = f"{prefix}{name}", given.get(name)
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            merged[name] = {**own, **_merged(own, value, f"{key}.")}
        elif name not in given:
            merged[name] = value
        elif own != value:
            raise RosettaError(
                f"The checkpoint's network has {key}={value}, the configuration says {own}.\n"
                f"Set gen.network.{key}={value}, or choose other weights."
            )
    return merged
