"""One picture per Rosetta neuron: example images, and its units' activation maps laid over them.

A sprite is a grid. Columns are the example images on which the neuron's own unit fires most; the
first row shows them as they are, the second that unit, then one row per model.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rosetta_lab.dictionary.schema import RosettaDictionary, RosettaNeuron
from rosetta_lab.mine.page.examples import COLUMNS, Examples
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.overlays import CELL, normalise, overlay, strongest


@dataclass
class Sprite:
    """A neuron's picture.

    Attributes:
        pixels: (3, rows x h, columns x w) in [0, 1].
        columns: the example images shown, by their place in the gallery.
    """

    pixels: Tensor
    columns: list[int]

    def webp(self) -> bytes:
        """The picture as a WebP file."""
        array = (self.pixels * 255.0).round().byte().movedim(0, -1).contiguous().numpy()
        stream = BytesIO()
        Image.fromarray(array).save(stream, "WEBP", quality=82, method=2)
        return stream.getvalue()


class SpriteMaker:
    """Draws the sprites of a dictionary's neurons.

    Args:
        dictionary: whose neurons to draw.
        examples: images, and the maps of every neuron's own unit and best buddies.
    """

    def __init__(self, dictionary: RosettaDictionary, examples: Examples) -> None:
        self.dictionary, self.examples = dictionary, examples
        self.columns = min(COLUMNS, len(examples.images))
        self.rows = 2 + len(dictionary.discriminative)
        height, width = examples.images.shape[-2:]
        scale = CELL / max(height, width)
        self.cell = (max(1, round(height * scale)), max(1, round(width * scale)))
        self.gallery = F.interpolate(
            examples.images.float(), self.cell, mode="bicubic", antialias=True
        ).clamp(0.0, 1.0)  # (E, 3, h, w)

    def draw(self, neuron: RosettaNeuron) -> Sprite:
        """The sprite of one neuron."""
        shown = strongest(self._maps(self.dictionary.reference.name, neuron.unit), self.columns)
        units = [(self.dictionary.reference.name, neuron.unit)]
        units += [(name, neuron.matches[name][0].unit) for name in self.dictionary.discriminative]
        images = self.gallery[shown]  # (columns, 3, h, w)
        rows = [images]
        rows += [overlay(images, normalise(self._maps(*unit))[shown]) for unit in units]
        return Sprite(torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1), shown)

    def _maps(self, model: str, unit: Unit) -> Tensor:
        return self.examples.maps[model, unit].float()
