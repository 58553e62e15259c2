"""Layers, units, and the index that numbers them.

A unit is one channel of one layer. A model's units are numbered by concatenating its layers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from torch import nn

from rosetta_lab.errors import RosettaError

INPUT_SUFFIX = ":input"


@dataclass(frozen=True)
class Layer:
    """A recorded layer: its name, its number of units and the size of their maps."""

    name: str
    channels: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the activation maps."""
        return self.height, self.width


class Unit(NamedTuple):
    """One channel of one layer."""

    layer: str
    channel: int


class UnitIndex:
    """Numbers the units of a model's layers: 0 .. len-1, layer by layer.

    >>> index = UnitIndex([Layer("a", 2, 4, 4), Layer("b", 3, 2, 2)])
    >>> len(index), index[3], index.units("b")
    (5, Unit(layer='b', channel=1), slice(2, 5, None))
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = list(layers)
        self._ends = list(accumulate(layer.channels for layer in self.layers))
        self._position = {layer.name: place for place, layer in enumerate(self.layers)}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Unit:
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = bisect_right(self._ends, number)
        layer = self.layers[place]
        return Unit(layer.name, number - self._ends[place] + layer.channels)

    def units(self, layer: str) -> slice:
        """The numbers of a layer's units."""
        place = self._position[layer]
        return slice(self._ends[place] - self.layers[place].channels, self._ends[place])

    def number(self, unit: Unit) -> int:
        """The number of a unit."""
        return int(self.units(unit.layer).start) + unit.channel


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob over dotted names: ``*`` and ``?`` stay within one component, ``**`` does not."""
    parts = re.split(r"(\*\*|\*|\?)", glob)
    special = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    return re.compile("".join(special.get(part, re.escape(part)) for part in parts))


def matches(glob: str, name: str) -> bool:
    """Whether a layer's name is one of those that a glob means; see :func:`resolve_layers`."""
    return _pattern(glob).fullmatch(name) is not None


def resolve_layers(network: nn.Module, globs: Sequence[str], model: str) -> list[str]:
    """Names of the modules that match the globs, in the order of the network.

    ``NAME:input`` asks for a module's input instead of its output; the suffix stays on the name.

    Args:
        network: where to look.
        globs: patterns over dotted module names; ``*`` does not cross a dot, ``**`` does.
        model: how messages call the network.

    Raises:
        RosettaError: a glob matches nothing.
    """
    names = [name for name, _ in network.named_modules() if name]
    order = {name: place for place, name in enumerate(names)}
    found: dict[str, int] = {}
    for glob in globs:
        suffix = INPUT_SUFFIX if glob.endswith(INPUT_SUFFIX) else ""
        pattern = _pattern(glob.removesuffix(INPUT_SUFFIX))
        matches = [name for name in names if pattern.fullmatch(name)]
        if not matches:
            raise RosettaError(f"{model}: no layer matches '{glob}'.\nThere is: {_summary(names)}.")
        found |= {name + suffix: order[name] for name in matches}
    if not found:
        raise RosettaError(f"{model}: layers=[]: name at least one.\nThere is: {_summary(names)}.")
    return sorted(found, key=lambda name: (found[name], name))


def _summary(names: Sequence[str], limit: int = 40) -> str:
    """Module names with their numbers folded, so that a deep network fits into a message."""
    folded = list(dict.fromkeys(re.sub(r"(?<![^.])\d+(?![^.])", "*", name) for name in names))
    shown = ", ".join(folded[:limit])
    return shown + (f" and {len(folded) - limit} more" if len(folded) > limit else "")
