"""Example images with the activation maps of a dictionary's units, for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rosetta_lab.data.inputs import Batch, Inputs
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.observer import GeneratedImages, Observer, OnModelMap
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.overlays import strongest

COLUMNS = 6  # images of a unit that the page shows
PIXELS = 2 << 16  # of images that are looked at at a time
MOST = 16  # of them


@dataclass
class Examples:
    """A gallery of images and what the dictionary's units make of them.

    Attributes:
        images: (E, 3, H, W) in [0, 1].
        captions: one short text per image (its number, its class; its name).
        maps: model name and unit to activation maps (E, h, w), raw values. Holds every Rosetta
            neuron's own unit and its best match in every model. Maps may be non-square and
            smaller than the image; they always cover exactly the image.
        peaks: of all images that the gallery was chosen from (A, candidates): the highest value of
            each Rosetta neuron's own unit, and of those that are matched by place; None where
            nobody chose.
        labels: of the same images (A,); None without classes.
    """

    images: Tensor
    captions: list[str]
    maps: dict[tuple[str, Unit], Tensor]
    peaks: Tensor | None = None
    labels: Tensor | None = None

    @property
    def chosen_from(self) -> int:
        """How many images the gallery was chosen from."""
        return len(self.images if self.peaks is None else self.peaks)


def collect_examples(
    observer: Observer,
    inputs: Inputs,
    dictionary: RosettaDictionary,
    count: int = 400,
) -> Examples:
    """Choose the images on which units fire most, and keep the maps that the page shows of them.

    The reference alone sees the first ``count`` images, and every model the few of them on which
    one of the reference's units fires most: at most six for a unit.
    """
    batch_size = _together(observer, inputs)
    numbers = range(min(count, len(inputs)))
    peaks, labels = _peaks(observer, inputs, dictionary, numbers, batch_size)
    shown = sorted({n for unit in peaks.t() for n in strongest(unit[:, None, None], COLUMNS)})
    wanted: dict[str, dict[str, set[int]]] = {}  # channels by model and layer
    for neuron in dictionary.candidates:
        best = {name: matches[0].unit for name, matches in neuron.matches.items()}
        for name, unit in {observer.reference: neuron.unit, **best}.items():
            wanted.setdefault(name, {}).setdefault(unit.layer, set()).add(unit.channel)

    names = (dictionary.config.get("gen") or {}).get("class_names")
    images, captions = [], []
    maps: dict[tuple[str, Unit], list[Tensor]] = {}

    def keep(model: str, layer: str, activation: Tensor) -> None:
        for channel in wanted.get(model, {}).get(layer, ()):
            seen = activation[:, channel].to("cpu", torch.float32, copy=True)
            maps.setdefault((model, Unit(layer, channel)), []).append(seen)

    for batch in _batches(inputs, shown or numbers[:COLUMNS], batch_size):
        images.append(observer(batch, keep).images.cpu())
        for place, index in enumerate(batch.index.tolist()):
            label = None if batch.label is None else int(batch.label[place])
            captions.append(inputs.caption(index, label, names))
    return Examples(
        torch.cat(images),
        captions,
        {key: torch.cat(parts) for key, parts in maps.items()},
        peaks,
        labels,
    )


def _together(observer: Observer, inputs: Inputs) -> int:
    """Images at a time: of large ones few fit beside the largest networks."""
    source = observer.source
    if isinstance(source, GeneratedImages):
        side = source.generator.resolution
    else:
        side = max(source(inputs.batch([0])).images.shape[-2:])
    return max(1, min(MOST, PIXELS // side**2))


def _batches(inputs: Inputs, numbers: Sequence[int], size: int) -> Iterable[Batch]:
    return (
        inputs.batch(list(numbers[start : start + size])) for start in range(0, len(numbers), size)
    )


@torch.no_grad()
def _peaks(
    observer: Observer,
    inputs: Inputs,
    dictionary: RosettaDictionary,
    numbers: Sequence[int],
    batch_size: int,
) -> tuple[Tensor, Tensor | None]:
    """Highest value of every candidate's own unit on every image (A, candidates), and labels."""
    units = [neuron.unit for neuron in dictionary.candidates]
    if not units:
        return torch.empty(len(numbers), 0), None
    layers = list(dict.fromkeys(unit.layer for unit in units))
    rows, labels = [], []
    seen: dict[str, Tensor] = {}

    def keep(model: str, layer: str, maps: Tensor) -> None:
        if model == observer.reference and layer in layers:
            seen[layer] = maps.amax(dim=(2, 3)).float().cpu()

    for batch in _batches(inputs, numbers, batch_size):
        _look(observer, batch, layers, keep)
        rows.append(torch.stack([seen[layer][:, channel] for layer, channel in units], dim=1))
        if batch.label is not None:
            labels.append(batch.label.cpu())
    return torch.cat(rows), torch.cat(labels) if labels else None


def _look(observer: Observer, batch: Batch, layers: Sequence[str], keep: OnModelMap) -> None:
    """Show a batch to the reference alone."""
    batch = batch.to(next(observer.parameters()).device)
    name = observer.reference
    model = dict(observer.models.items()).get(name)
    if isinstance(model, DiscriminativeModel):
        model.maps(observer.source(batch).images, layers, partial(keep, name))
    else:
        observer.source(batch, keep)
