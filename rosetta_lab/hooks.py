"""Recording activation maps.

with record(network, ["layer1.0", "head.fc:input"]) as activations:
    network(images)
activations["layer1.0"]  # (N, C, H, W)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.units import INPUT_SUFFIX


@contextmanager
def record(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record what the named modules put out (or take in, ``NAME:input``) in one forward pass.

    The hooks are removed when the block is left, also by an exception.

    Args:
        network: the modules' root.
        layers: exact module names, see :func:`rosetta_lab.units.resolve_layers`.

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
            module = network.get_submodule(layer.removesuffix(INPUT_SUFFIX))
            if layer.endswith(INPUT_SUFFIX):
                hook = module.register_forward_pre_hook(
                    lambda _module, inputs, layer=layer: keep(layer, inputs[0])
                )
            else:
                hook = module.register_forward_hook(
                    lambda _module, _inputs, output, layer=layer: keep(layer, output)
                )
            handles.append(hook)
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
