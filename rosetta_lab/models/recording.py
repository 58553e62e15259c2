"""Looking at what layers put out, and putting other maps in its place.

maps = model.maps(images, ["layer1.0", "layer2.0.conv1:input"])  # layer to (N, C, H, W)

That is :func:`look`, where the model's own class knows how to run the network, and what is a map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import TypeVar

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import INPUT_SUFFIX

Kept = TypeVar("Kept", default=Tensor)
OnMap = Callable[[str, Tensor], Kept]  # layer and maps (N, C, H, W) to what is kept of them

# By network: layers that a whole forward pass has shown to run once, and to be left as they are.
_ONCE: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


class _Stop(BaseException):
    """Ends a forward pass. It is no Exception, because networks may catch those."""


def look(
    network: nn.Module,
    layers: Sequence[str],
    run: Callable[[], Any],
    to_map: Callable[[str, Tensor], Tensor],
    on_map: OnMap[Kept] | None = None,
    *,
    whole: bool = True,
) -> tuple[Any, dict[str, Kept]]:
    """Run a network and see some of its layers as maps.

    A pass that need not be whole ends as soon as all layers have run, except for the first with a
    layer: only a whole pass shows that it runs once.

    Args:
        network: the layers' root.
        layers: exact module names, see :func:`rosetta_lab.models.units.resolve_layers`.
        run: a forward pass of the network.
        to_map: layer and what it puts out to maps (N, C, H, W).
        on_map: sees every layer's maps as soon as they are there, within the forward pass; what it
            returns is kept in their place (a copy, not a view: what follows in the network may
            write to the maps). None keeps the maps.
        whole: whether the network's output is needed.

    Returns:
        what ``run`` returns (None where the pass ended early), and what is kept by layer.

    Raises:
        RosettaError: a layer did not run, ran more than once, does not put out maps, or its maps
            are kept and something after it overwrites them.
    """
    wanted = list(dict.fromkeys(layers))
    once = _ONCE.setdefault(network, set())
    stops = not whole and once.issuperset(wanted)
    this_pass = object()  # which may be within another one
    kept: dict[str, Any] = {}
    versions: dict[str, int | None] = {}
    output = None

    def see(layer: str, value: Tensor) -> None:
        maps = to_map(layer, value)
        if maps.dim() != 4:  # a class of one's own may say anything
            raise RosettaError(
                f"Layer '{layer}' gives {tuple(maps.shape)}, expected maps (N, C, H, W).\n"
                "Choose other layers."
            )
        if on_map is None:
            kept[layer], versions[layer] = maps, _version(maps)
        else:
            kept[layer] = on_map(layer, maps)
        if stops and len(kept) == len(wanted):
            raise _Stop(this_pass)

    try:
        with watch(network, wanted, see):
            output = run()
    except _Stop as stop:
        if stop.args[0] is not this_pass:
            raise
    for layer, version in versions.items():
        if _version(kept[layer]) != version:
            raise RosettaError(
                f"Layer '{layer}' is overwritten in place by a module after it.\n"
                "Choose that one (such as the activation after a convolution) instead."
            )
    if None not in versions.values():
        once.update(wanted)
    return output, {layer: kept[layer] for layer in wanted}


def _version(maps: Tensor) -> int | None:
    """How often a tensor has been written to; None in inference mode, which does not count."""
    return None if maps.is_inference() else maps._version


@contextmanager
def record(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record what layers put out (or take in, ``NAME:input``), whatever its shape.

    with record(network, ["layer1.0", "head.fc:input"]) as activations:
        network(images)
    activations["layer1.0"]  # (N, C, H, W)

    Args:
        network: see :func:`watch`.
        layers: see :func:`watch`.

    Yields:
        A dict that the forward pass fills: layer name to activation.

    Raises:
        RosettaError: see :func:`watch`.
    """
    activations: dict[str, Tensor] = {}
    with watch(network, layers, activations.__setitem__):
        yield activations


@contextmanager
def watch(
    network: nn.Module, layers: Sequence[str], see: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Let a function see what layers put out (or take in, ``NAME:input``) in one forward pass.

    The hooks are removed when the block is left, also by an exception.

    Args:
        network: the layers' root.
        layers: exact module names, see :func:`rosetta_lab.models.units.resolve_layers`.
        see: called with layer and activation while the network runs.

    Raises:
        RosettaError: a layer ran more than once, does not put out a single tensor, or, on leaving,
            did not run: its units would be ambiguous.
    """
    ran: set[str] = set()

    def show(layer: str, value: Any) -> None:
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        if not isinstance(value, Tensor):
            raise RosettaError(
                f"Layer '{layer}' gives a {type(value).__name__}, not one tensor; "
                "choose a layer inside or after it."
            )
        if layer in ran:
            raise RosettaError(
                f"Layer '{layer}' runs more than once in one forward pass.\n"
                "Choose another layer: a module that is reused has no single output."
            )
        ran.add(layer)
        see(layer, value)

    handles = []
    try:
        for layer in layers:
            handles.append(_hook(network, layer, partial(show, layer)))
        yield
        for layer in layers:
            if layer not in ran:
                raise RosettaError(
                    f"Layer '{layer}' ran 0 times in one forward pass, it has to run once.\n"
                    "Choose another layer."
                )
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(network: nn.Module, maps: Mapping[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Put maps in the place of what layers put out (or take in, ``NAME:input``).

    The hooks are removed when the block is left, also by an exception.

    Args:
        network: the layers' root.
        maps: layer to channels (U,) and maps (N, U, h, w), as the layer itself has them.
    """

    def put(channels: Tensor, new: Tensor, value: Tensor) -> Tensor:
        value = value.clone()
        value[:, channels] = new.to(value)
        return value

    handles = []
    try:
        for layer, (channels, new) in maps.items():
            handles.append(_hook(network, layer, partial(put, channels, new)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def held(
    network: nn.Module,
    values: Mapping[str, tuple[Tensor, Tensor]],
    to_map: Callable[[str, Tensor], Tensor],
) -> Iterator[None]:
    """Hold units at constants in all that layers put out (or take in, ``NAME:input``) for them.

    That is more than their maps show: class tokens and margins around the image are held, too. The
    hooks are removed when the block is left, also by an exception.

    Args:
        network: the layers' root.
        values: layer to channels (U,) and constants (U,).
        to_map: layer and what it puts out to maps (N, C, H, W); says where a unit's values lie.

    Raises:
        RosettaError: see :func:`channel_axis`.
    """

    def hold(layer: str, value: Any) -> Any:
        if isinstance(value, tuple) and len(value) == 1:
            return (hold(layer, value[0]),)
        channels, constants = values[layer]
        axis = channel_axis(layer, value, to_map)
        value = value.clone()
        value.movedim(axis, -1)[..., channels.to(value.device)] = constants.to(value)
        return value

    handles = []
    try:
        for layer in values:
            handles.append(_hook(network, layer, partial(hold, layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def channel_axis(layer: str, value: Tensor, to_map: Callable[[str, Tensor], Tensor]) -> int:
    """The axis of a layer's output along which its units lie.

    It is the one whose coordinates the maps show as the units' numbers, whatever the layout.

    Args:
        layer: its name.
        value: what it puts out (N, ...).
        to_map: layer and what it puts out to maps (N, C, H, W).

    Raises:
        RosettaError: there is none, or what ``to_map`` raises.
    """
    for axis in range(1, value.dim()):
        numbers = torch.arange(value.shape[axis], device=value.device, dtype=torch.float32)
        shape = [1] * value.dim()
        shape[axis] = -1
        maps = to_map(layer, numbers.reshape(shape).expand(1, *value.shape[1:]))
        if maps.shape[1] == len(numbers) and bool((maps == numbers[:, None, None]).all()):
            return axis
    raise RosettaError(
        f"Layer '{layer}': units of its maps lie along no axis of what it puts out, "
        f"{tuple(value.shape)}.\nChoose other layers."
    )


def _hook(network: nn.Module, layer: str, see: Callable[[Any], Any]) -> RemovableHandle:
    """Have a function see what a module puts out (or takes in); what it returns replaces it."""
    module = network.get_submodule(layer.removesuffix(INPUT_SUFFIX))
    if not layer.endswith(INPUT_SUFFIX):
        return module.register_forward_hook(lambda _module, _inputs, output: see(output))

    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        new = see(inputs[0])
        return None if new is None else (new, *inputs[1:])

    return module.register_forward_pre_hook(before)
