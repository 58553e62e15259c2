"""Recording activation maps, and replacing them.

with record(network, ["layer1.0", "head.fc:input"]) as activations:
    network(images)
activations["layer1.0"]  # (N, C, H, W)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import INPUT_SUFFIX


@contextmanager
def record(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record what the named modules put out (or take in, ``NAME:input``) in one forward pass.

    The hooks are removed when the block is left, also by an exception.

    Args:
        network: the modules' root.
        layers: exact module names, see :func:`rosetta_lab.models.units.resolve_layers`.

    Yields:
        A dict that the forward pass fills: layer name to activation.

    Raises:
        RosettaError: on leaving, if a layer did not run, ran more than once or did not put out a
            single tensor: its units would be ambiguous.
    """
    activations: dict[str, Tensor] = {}
    runs: dict[str, int] = dict.fromkeys(layers, 0)

    def keep(layer: str, value: Any) -> None:
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        if not isinstance(value, Tensor):
            raise RosettaError(
                f"Layer '{layer}' gives a {type(value).__name__}, not one tensor; "
                "choose a layer inside or after it."
            )
        runs[layer] += 1
        activations[layer] = value

    handles = []
    try:
        for layer in layers:
            handles.append(_hook(network, layer, partial(keep, layer)))
        yield activations
        for layer, count in runs.items():
            if count != 1:
                raise RosettaError(
                    f"Layer '{layer}' ran {count} times in one forward pass, it has to run once.\n"
                    "Choose another layer (a module that is reused has no single output)."
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


def _hook(network: nn.Module, layer: str, see: Callable[[Any], Tensor | None]) -> RemovableHandle:
    """Have a function see what a module puts out (or takes in); a tensor it returns replaces it."""
    module = network.get_submodule(layer.removesuffix(INPUT_SUFFIX))
    if not layer.endswith(INPUT_SUFFIX):
        return module.register_forward_hook(lambda _module, _inputs, output: see(output))

    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        new = see(inputs[0])
        return None if new is None else (new, *inputs[1:])

    return module.register_forward_pre_hook(before)
