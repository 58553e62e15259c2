"""What a layer puts out: which axis holds its units, and which say where in the image.

The number of axes does not tell: (N, C, H, W) and (N, H, W, C) have as many. So a network is run on
images of several sizes, on the ``meta`` device, where that costs next to nothing: axes grow with
the images' height, with their width, with both (tokens), or not at all (units).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.models.units import INPUT_SUFFIX

Kind = Literal["NCHW", "NHWC", "NTC"]
Shape = tuple[int, ...]
Module = TypeVar("Module", bound=nn.Module)

# As many images, and how many times as high and as wide as a network's own.
PROBES = ((2, 1, 1), (1, 1, 1), (2, 2, 1), (2, 1, 2), (2, 2, 2))
# Networks of timm that order their tokens otherwise than row by row, or pool them in that order:
# numbers of tokens do not tell. Every other family was seen to have them row by row.
SCATTERED = {"Hiera", "NextViT"}
UNITS, ROWS, COLUMNS, TOKENS = (False, False), (True, False), (False, True), (True, True)


class Untold(Exception):
    """Why a layout cannot be told: what is the case instead."""


@dataclass(frozen=True)
class Layout:
    """Where the units of a layer and their positions lie in what it puts out.

    Attributes:
        shape: of what it puts out, but for the first axis, which is that of the images.
        units: axis of the units.
        places: axes of rows and columns, or the one of tokens, which lie row by row.
        grid: rows and columns.
        prefix: tokens before those, which have no place in the image.
    """

    shape: Shape
    units: int
    places: tuple[int, ...]
    grid: tuple[int, int]
    prefix: int = 0

    def to_map(self, activation: Tensor) -> Tensor:
        """What the layer puts out (N, *shape) as maps (N, C, H, W)."""
        order = (self.units, *self.places)
        maps = activation.movedim(order, tuple(range(1, 1 + len(order))))
        if len(self.places) == 1:
            maps = maps[:, :, self.prefix :].unflatten(2, self.grid)  # (N, C, T) to (N, C, H, W)
        return maps


def told(kind: Kind, shape: Shape, size: tuple[float, float], prefix: int) -> Layout:
    """The layout of a layer of which somebody says the kind.

    Args:
        kind: order of its axes; tokens (N, T, C) are those of the patches, perhaps after others.
        shape: of what it puts out.
        size: height and width of the images, counted in what makes patches square.
        prefix: tokens without a place that the network has.

    Raises:
        Untold: the shape is not of that kind.
    """
    if len(shape) != len(kind):
        raise Untold(f"{shape} is not {kind}")
    if kind != "NTC":
        units, rows, columns = (kind.index(axis) for axis in "CHW")
        return Layout(shape[1:], units, (rows, columns), (shape[rows], shape[columns]))
    fits = [(first, grid) for first in {0, prefix} for grid in grids(shape[1] - first, size)]
    if len(fits) != 1:
        raise Untold(f"{shape[1]} tokens make no grid, with {prefix} before it or none")
    return Layout(shape[1:], 2, (1,), fits[0][1], fits[0][0])


def tell(shapes: Sequence[Shape | None], size: tuple[float, float], prefix: int) -> Layout:
    """The layout of a layer from what it puts out for ``PROBES``.

    Args:
        shapes: in the order of ``PROBES``; None where it was not reached.
        size: see :func:`told`.
        prefix: see :func:`told`.

    Raises:
        Untold: they do not tell it.
    """
    reached = [shape for shape in shapes if shape is not None]
    if len(reached) < len(PROBES):
        raise Untold("the network takes images of one size only")
    own, fewer, higher, wider, both = reached
    if len({len(shape) for shape in reached}) > 1 or not own or own[1:] != fewer[1:]:
        raise Untold("the number of its axes, or their sizes, depend on the number of images")
    if [shape[0] for shape in reached] != [images for images, _, _ in PROBES]:
        raise Untold("the first axis is not that of the images, but perhaps of windows or heads")
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for axis in range(1, len(own)):
        grows = (higher[axis] != own[axis], wider[axis] != own[axis])
        kinds.setdefault(grows, []).append(axis)
    known = {grows: axes[0] for grows, axes in kinds.items() if len(axes) == 1}
    if len(own) == 4 and known.keys() == {UNITS, ROWS, COLUMNS}:
        places = (known[ROWS], known[COLUMNS])
        return Layout(own[1:], known[UNITS], places, (own[places[0]], own[places[1]]))
    if len(own) == 3 and known.keys() == {UNITS, TOKENS}:
        axis = known[TOKENS]
        tokens = [shape[axis] for shape in (own, higher, wider, both)]
        inside = tokens_inside(*tokens)
        if own[axis] - inside not in (0, prefix):
            raise Untold(
                f"of {own[axis]} tokens, {inside} grow with the image, and the network knows of "
                f"{prefix} others"
            )
        found = grids(inside, size)
        if len(found) != 1:
            raise Untold(f"{inside} tokens make no grid")
        return Layout(own[1:], known[UNITS], (axis,), found[0], own[axis] - inside)
    grown = len(own) - 1 - len(kinds.get(UNITS, ()))
    raise Untold(
        f"{grown} of its axes grow with the image and {len(own) - 1 - grown} do not: expected one "
        "of units, and one each of rows and columns, or of tokens"
    )


def tokens_inside(own: int, higher: int, wider: int, both: int) -> int:
    """How many of the tokens have a place in the image.

    With p others, there are p + rc, p + Rc, p + rC and p + RC for images of the own size, higher,
    wider and both, whatever the rows and columns: rc = (Rc - rc)(rC - rc) / (R - r)(C - c).

    Raises:
        Untold: it is no whole number of them.
    """
    corner = both - higher - wider + own
    inside, rest = divmod((higher - own) * (wider - own), corner) if corner else (0, 1)
    if rest or not 0 < inside <= own:
        raise Untold("its tokens do not grow as rows and columns do")
    return inside


def grids(places: int, size: tuple[float, float]) -> list[tuple[int, int]]:
    """Rows and columns of so many square patches of an image; rounded either way at its edges."""
    found = []
    for rows in range(1, places + 1):
        columns, rest = divmod(places, rows)
        pairs = list(zip(size, (rows, columns), strict=True))
        smallest = max(length / (count + 1) for length, count in pairs)
        largest = min(length / (count - 1) if count > 1 else math.inf for length, count in pairs)
        if not rest and smallest < largest:
            found.append((rows, columns))
    return found


class Probe:
    """Shapes of what all layers of a network put out and take in, for images of several sizes.

    Args:
        at: makes a model for images of a size in pixels that may be used up, see :func:`twin`.
        network: the part of it whose modules the layers are.
        size: height and width that the network is for.
        like: a tensor of the type that the images have, where the model is.

    Attributes:
        shapes: layer to its shape, in the order of ``PROBES``, as far as the passes came.
        error: of the network, on images of its own size.
    """

    def __init__(
        self,
        at: Callable[[tuple[int, int], str | None], nn.Module],
        network: Callable[[nn.Module], nn.Module],
        size: tuple[int, int],
        like: Tensor,
    ) -> None:
        self.size = size
        for device in ("meta", None):  # some networks look at the numbers
            self.shapes: list[dict[str, Shape]] = []
            self.error: Exception | None = None
            for images, higher, wider in PROBES:
                its = (higher * size[0], wider * size[1])
                shapes: dict[str, Shape] = {}
                try:
                    model = at(its, device)
                    watch_shapes(network(model), shapes)
                    with torch.no_grad():
                        model(like.new_zeros((images, 3, *its), device=device))
                except Exception as error:  # of any kind: it is a network's
                    self.error = self.error or (None if self.shapes else error)
                self.shapes.append(shapes)
            if self.error is None:
                break

    def of(self, layer: str) -> list[Shape | None]:
        """A layer's shapes, in the order of ``PROBES``; None where it was not reached."""
        return [shapes.get(layer) for shapes in self.shapes]

    def check(self) -> None:
        """Raise a RosettaError if the network fails on any images of its own size."""
        if self.error is not None:
            raise RosettaError(
                f"The network fails on images of {self.size[0]} x {self.size[1]} pixels: "
                f"{printable(' '.join(str(self.error).split()))}\n"
                "Choose the size that it is made for (preprocess.size), or other arguments of it."
            )


def watch_shapes(network: nn.Module, found: dict[str, Shape]) -> None:
    """Have the shapes of what every layer puts out and takes in noted as it runs, by its name."""

    def see(layer: str, value: Any) -> None:
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, Tensor):
            found.setdefault(layer, tuple(value.shape))

    def after(layer: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        see(layer, output)

    def before(layer: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        see(layer, inputs[:1])

    for name, module in network.named_modules():
        module.register_forward_hook(partial(after, name))
        module.register_forward_pre_hook(partial(before, name + INPUT_SUFFIX))


def twin(module: Module, device: str | None, without: str) -> Module:
    """A copy of a module that may be changed; its tensors may not.

    Args:
        module: of any class.
        device: ``meta`` for tensors with shapes but no contents, None for the module's own.
        without: name of a Python module whose hooks are left out.
    """

    def other(tensor: Tensor) -> Tensor:
        if device is None:
            return tensor
        new = torch.empty_like(tensor, device=device, requires_grad=False)
        return nn.Parameter(new, False) if isinstance(tensor, nn.Parameter) else new

    tensors = [*module.parameters(), *module.buffers()]
    for part in module.modules():  # what networks derive from these and keep
        tensors += [value for value in vars(part).values() if isinstance(value, Tensor)]
    made = copy.deepcopy(module, {id(tensor): other(tensor) for tensor in tensors})
    for part in made.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks):
            for key, hook in list(hooks.items()):
                if getattr(hook, "__module__", None) == without:
                    del hooks[key]
    return made
