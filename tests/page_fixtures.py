"""A synthetic dictionary with its examples: what fires, and where, is known."""

from __future__ import annotations

import torch
from matched import dictionary_of
from torch import Tensor

from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.mine.page.examples import Examples
from rosetta_lab.models.units import Layer, Unit

HOSTILE = "<script>alert(1)</script>"
HOSTILE_MODEL = """q"uo'te&<img src=x onerror=alert(2)>"""


def blob_maps(centres: Tensor, heights: Tensor, size: tuple[int, int], width: float) -> Tensor:
    """Gaussian blobs.

    Args:
        centres: x, y as fractions of the image (E, 2).
        heights: of the blobs (E,).
        size: of the maps.
        width: standard deviation as a fraction of the image.

    Returns:
        (E, h, w).
    """
    y = (torch.arange(size[0]) + 0.5) / size[0]
    x = (torch.arange(size[1]) + 0.5) / size[1]
    distance = (x - centres[:, 0, None, None]) ** 2 + (
        (y[:, None] - centres[:, 1, None, None]) ** 2
    )
    return heights[:, None, None] * torch.exp(-distance / (2 * width**2))


def cards(scale: int, source: str, extra: int) -> tuple[ModelCard, dict[str, ModelCard]]:
    """A generator and three or more models; ``scale`` multiplies the channels."""
    generator = ModelCard(
        "generator_fashion",
        {"source": source, "sha256": "0123456789abcdef" * 4},
        [
            Layer("b4.conv1", 4 * scale, 4, 4),
            Layer("b8.conv0", 4 * scale, 8, 8),
            Layer(HOSTILE, 4 * scale, 8, 8),
            Layer("b16.conv1", 4 * scale, 16, 16),
        ],
    )
    models = {
        "resnet": ["layer1", "layer2", "layer3", "layer4"],
        "vit_with_a_rather_long_name": [f"blocks.{i}.mlp.act" for i in range(6)],
        HOSTILE_MODEL: ["visual.layer3", HOSTILE, "visual.very.long.module.path.layer4.act3"],
        **{f"model_{number}": [f"layer{i}.act" for i in range(5)] for number in range(extra)},
    }
    return generator, {
        name: ModelCard(
            name,
            {"source": "embedded", "sha256": None},
            [Layer(layer, 6 * scale, 8, 8) for layer in layers],
        )
        for name, layers in models.items()
    }


def synthetic(
    images: Tensor,
    centres: Tensor,
    neurons: int = 12,
    scale: int = 1,
    source: str = "embedded",
    extra: int = 0,
) -> tuple[RosettaDictionary, Examples]:
    """A dictionary of planted Rosetta neurons, in concepts of 1, 2, 3, ... members.

    Args:
        images: (E, 3, H, W) in [0, 1].
        centres: where every unit fires, x, y as fractions of the image (E, 2).
        neurons: how many generator units to plant.
        scale: multiplies the channels, so that the neurons fit.
        source: of the generator's weights.
        extra: models beyond the three.
    """
    random = torch.Generator().manual_seed(0)
    generator, models = cards(scale, source, extra)
    units = len(generator.units)
    planted = torch.randperm(units, generator=random)[:neurons]
    alive = torch.zeros(units, dtype=torch.bool)
    alive[planted] = True  # so that nothing but the planted units can match
    tables, models_alive = {}, {}
    for name, card in models.items():
        table = 0.3 * torch.rand(units, len(card.units), generator=random)
        order = torch.randperm(len(card.units), generator=random)
        table[planted, order[:neurons]] = 0.3 + 0.6 * torch.rand(neurons, generator=random)
        tables[name] = table
        models_alive[name] = torch.ones(len(card.units), dtype=torch.bool)
        models_alive[name][order[-1]] = False
    home = torch.full((units, units), -torch.inf)
    start, size = 0, 1
    while start < neurons:
        block = planted[start : start + size]
        home[block[:, None], block] = 0.9
        start, size = start + size, size % 4 + 1
    dictionary = dictionary_of(
        generator, models, tables, home, alive, models_alive,
        k_gen=3, k_disc=3, seed=3, num_images=1600,
        config={"gen": {"name": HOSTILE}, "disc": list(models)}, created="2025-01-01 12:00",
        rosetta_lab="0.1.0",
    )  # fmt: skip
    return dictionary, examples_for(dictionary, images, centres)


def scenes(count: int = 10, size: tuple[int, int] = (48, 80)) -> tuple[Tensor, Tensor]:
    """Images of a bright square on a plain colour, (E, 3, H, W), and its centres (E, 2)."""
    random = torch.Generator().manual_seed(1)
    centres = 0.2 + 0.6 * torch.rand(count, 2, generator=random)
    square = blob_maps(centres, torch.ones(count), size, 0.1) > 0.6  # (E, H, W)
    colours = torch.rand(2, count, 3, 1, 1, generator=random)
    return torch.where(square[:, None], colours[0], 0.5 * colours[1] + 0.4), centres


def examples_for(dictionary: RosettaDictionary, images: Tensor, centres: Tensor) -> Examples:
    """Blobs for every unit that the dictionary shows, over the squares of :func:`scenes`.

    On image (number - 1) modulo E neuron ``number`` fires most, on the one before it a little less.
    """
    maps: dict[tuple[str, Unit], Tensor] = {}
    for number, neuron in enumerate(dictionary.candidates):
        heights = 1.0 + torch.arange(len(images)).roll(number).float() / len(images)
        width = 0.08 + 0.03 * (number % 4)
        maps[dictionary.reference.name, neuron.unit] = blob_maps(centres, heights, (16, 16), width)
        for name, matches in neuron.matches.items():
            maps[name, matches[0].unit] = blob_maps(centres, heights * 3 - 1, (8, 8), width)
    captions = [f"{number} · <b>caption</b>" for number in range(len(images))]
    return Examples(images, captions, maps)
