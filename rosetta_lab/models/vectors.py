"""Images as vectors: what units do on average, over a whole map or over the cells of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.units import resolve_layers

OUTPUT = ""  # the network's own, in place of a layer's name


def pooled(maps: Tensor, cells: int) -> Tensor:
    """Means of maps (N, C, H, W) over the cells of a grid: (N, C, cells, cells), float32.

    Cells are as large as each other; where they part pixels, these count for several of them.
    """
    return F.adaptive_avg_pool2d(maps.float(), cells)


@torch.no_grad()
def vectors(
    models: Mapping[str, DiscriminativeModel],
    batches: Iterable[Tensor],
    keep: Callable[[str, str, Tensor], Tensor],
    outputs: bool = False,
) -> dict[str, dict[str, Tensor]]:
    """What is kept of every image, by model and layer.

    Args:
        models: by name, with the layers to look at.
        batches: of images (N, 3, R, R) in [0, 1], on the CPU.
        keep: takes model, layer and maps (N, C, H, W); gives (N, ...).
        outputs: keep the networks' outputs, too, as layer ``OUTPUT``.

    Returns:
        Model name to layer to what was kept of all images, on the CPU.
    """
    layers = {n: resolve_layers(m.network, m.layers, n) for n, m in models.items()}
    found: dict[str, dict[str, list[Tensor]]] = {name: {} for name in models}
    for images in batches:
        for name, model in models.items():
            shown = images.to(next(model.parameters()).device)

            def see(layer: str, maps: Tensor, name: str = name) -> Tensor:
                return keep(name, layer, maps).cpu()

            if outputs:
                output, kept = model.output_and_maps(shown, layers[name], see)
                kept = {**kept, OUTPUT: _embedding(output)}
            else:
                kept = model.maps(shown, layers[name], see)
            for layer, values in kept.items():
                found[name].setdefault(layer, []).append(values)
    return {
        name: {layer: torch.cat(parts) for layer, parts in own.items()}
        for name, own in found.items()
    }


def _embedding(output: Any) -> Tensor:
    """A network's output as vectors (N, D)."""
    first: Tensor = output[0] if isinstance(output, tuple | list) else output
    return first.flatten(1).float().cpu()
