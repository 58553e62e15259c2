"""Edits as recipes: what ``conf/edit/*.yaml`` instantiates.

    edit = compose([Zoom(factor=1.5), Shift(dx=0.25)])
    targets = edit(maps, floor)  # the target maps (N, C, H, W) of one layer

An edit means the same on every layer, whatever the size of its maps. ``floor`` holds each unit's
minimum (C,), in the scale of the maps: normalised, if they are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from rosetta_lab.data.images import BrokenImage, read_grey
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional import map_edits as F
from rosetta_lab.functional.map_edits import Axis, Box

Fill = float | Literal["floor", "edge"]
Mask = Sequence[float] | str | Path | Tensor


class Edit(ABC):
    """One change of activation maps.

    Args:
        mask: limits the edit to a region: a box [left, top, right, bottom] in fractions of the
            picture, a picture's file or an image (H, W) or (N, H, W) in [0, 1], white where the
            edit applies. None is everywhere.

    Attributes:
        displacement: how far (dx, dy) every point is asked to move, as fractions of the picture;
            None where nothing is, or not every point by as much.
        scale: how many times larger everything is asked to become; None where it is not.
        uniform: whether every part of the picture is asked to do the same.
        start: where the optimisation begins: at the ``source``'s latent or at a ``random`` one.
        strength: whether the edit is about how strongly units fire rather than where. The cosine of
            maps does not see that; ``normalization=distance`` does.

    Raises:
        RosettaError: the box is empty or leaves the picture, or the file holds no picture.
    """

    displacement: tuple[float, float] | None = None
    scale: float | None = None
    start: Literal["source", "random"] = "source"
    strength: bool = False

    def __init__(self, mask: Mask | None = None) -> None:
        self.mask = None if mask is None else _read_mask(mask)

    @property
    def uniform(self) -> bool:
        return self.strength or self.mask is None

    def __call__(self, maps: Tensor, floor: Tensor, margin: int = 0) -> Tensor:
        """Edit target maps.

        Args:
            maps: of one layer (N, C, H, W).
            floor: each unit's minimum (C,).
            margin: cells that the maps have around the picture, on every side.

        Returns:
            (N, C, H, W).
        """
        edited = self.change(maps, floor, margin)
        return edited if self.mask is None else F.masked(maps, edited, self.mask, margin)

    @abstractmethod
    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        """The edit without its mask; arguments and result as for a call."""

    def destination(self, points: Tensor) -> Tensor:
        """Where the edit asks what is at ``points`` (..., 2), x and y in fractions, to go.

        Of a masked edit it is where what lies within the mask is asked to go.
        """
        return points


class Zoom(Edit):
    """Make everything larger or smaller (paper: by 2, about the middle).

    Args:
        factor: above 1 enlarges, below 1 shrinks.
        centre: x and y of the point that stays where it is.
        fill: what surrounds a shrunk map, see :class:`Shift`.
        mask: see :class:`Edit`.
    """

    def __init__(
        self,
        factor: float = 1.5,
        centre: Sequence[float] = (0.5, 0.5),
        fill: Fill = "floor",
        mask: Mask | None = None,
    ) -> None:
        super().__init__(mask)
        if not (factor > 0.0 and math.isfinite(factor)):
            raise RosettaError(f"factor={factor}: expected a number above 0, such as 1.5.")
        if len(centre) != 2 or not all(0.0 <= value <= 1.0 for value in centre):
            raise RosettaError(
                f"centre={list(centre)}: expected x and y as fractions of the picture, "
                "such as [0.5, 0.5]."
            )
        self.factor, self.centre = float(factor), (float(centre[0]), float(centre[1]))
        self.scale = self.factor if self.uniform else None
        self.fill = _check_fill(fill)

    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        return F.zoom(maps, self.factor, self.centre, _fill(self.fill, floor), margin)

    def destination(self, points: Tensor) -> Tensor:
        centre = torch.tensor(self.centre).to(points)
        return centre + self.factor * (points - centre)


class Shift(Edit):
    """Move everything (paper: in proportion to each map, 1 cell of 4, 2 of 8).

    Args:
        dx: share of the width, positive to the right.
        dy: share of the height, positive down.
        fill: what comes in: ``floor``, each unit's minimum (as the paper's zero padding for units
            behind a ReLU); ``edge``, the map's border goes on; or a number in the scale of the
            maps, where 0 is each unit's mean once they are normalised.
        subcell: move by parts of a cell too, by bilinear interpolation.
        mask: see :class:`Edit`.
    """

    def __init__(
        self,
        dx: float = 0.25,
        dy: float = 0.0,
        fill: Fill = "floor",
        subcell: bool = False,
        mask: Mask | None = None,
    ) -> None:
        super().__init__(mask)
        self.move = _check_move(dx, dy)
        self.displacement = self.move if self.uniform else None
        self.fill, self.subcell = _check_fill(fill), subcell

    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        return F.shift(maps, *self.move, _fill(self.fill, floor), self.subcell, margin)

    def destination(self, points: Tensor) -> Tensor:
        return points + torch.tensor(self.move).to(points)


class CopyPaste(Edit):
    """Two of what was one: half of the maps moved one way beside half of them moved the other.

    The paper joins the left half of the left-shifted and the right half of the right-shifted maps,
    and found a random start best.

    Args:
        dx: how far the right copy moves to the right and the left one to the left.
        dy: how far the second copy moves down and the first one up.
        at: where the two meet, as a fraction.
        axis: ``x`` puts them side by side, ``y`` one above the other (with dx=0 and dy=0.25, say).
        fill: see :class:`Shift`.
        subcell: see :class:`Shift`.
        mask: see :class:`Edit`.
    """

    start = "random"

    def __init__(
        self,
        dx: float = 0.25,
        dy: float = 0.0,
        at: float = 0.5,
        axis: Axis = "x",
        fill: Fill = "floor",
        subcell: bool = False,
        mask: Mask | None = None,
    ) -> None:
        super().__init__(mask)
        if not 0.0 < at < 1.0:
            raise RosettaError(f"at={at}: expected a fraction between 0 and 1, such as 0.5.")
        if axis not in ("x", "y"):
            raise RosettaError(
                f"axis={axis}: expected x (side by side) or y (one above the other)."
            )
        self.move, self.at, self.axis = _check_move(dx, dy), at, axis
        self.fill, self.subcell = _check_fill(fill), subcell

    @property
    def uniform(self) -> bool:
        return False

    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        (dx, dy), fill = self.move, _fill(self.fill, floor)
        first = F.shift(maps, -dx, -dy, fill, self.subcell, margin)
        second = F.shift(maps, dx, dy, fill, self.subcell, margin)
        return F.copy_paste(first, second, self.at, self.axis, margin)


class Suppress(Edit):
    """Take a concept away: every map becomes its unit's minimum."""

    strength = True

    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        return F.suppress(maps, floor)


class Amplify(Edit):
    """Strengthen (or weaken) a concept: what rises above the unit's minimum is multiplied.

    Args:
        factor: above 1 strengthens, between 0 and 1 weakens.
        mask: see :class:`Edit`.
    """

    strength = True

    def __init__(self, factor: float = 2.0, mask: Mask | None = None) -> None:
        super().__init__(mask)
        if not (factor >= 0.0 and math.isfinite(factor)):
            raise RosettaError(f"factor={factor}: expected a number of at least 0, such as 2.")
        self.factor = float(factor)

    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        return F.amplify(maps, self.factor, floor)


class Composed(Edit):
    """Several edits, one after the other; see :func:`compose`."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        super().__init__()
        self.edits = list(edits)
        scales = [edit.scale for edit in edits if edit.scale is not None]
        moves = [edit.displacement for edit in edits if edit.displacement is not None]
        if self.uniform and scales:
            self.scale = math.prod(scales)
        elif self.uniform and moves:
            self.displacement = (sum(dx for dx, _ in moves), sum(dy for _, dy in moves))
        if any(edit.start == "random" for edit in edits):
            self.start = "random"
        self.strength = any(edit.strength for edit in edits)

    @property
    def uniform(self) -> bool:
        return all(edit.uniform for edit in self.edits)

    def change(self, maps: Tensor, floor: Tensor, margin: int) -> Tensor:
        for edit in self.edits:
            maps = edit(maps, floor, margin)
        return maps

    def destination(self, points: Tensor) -> Tensor:
        for edit in self.edits:
            points = edit.destination(points)
        return points


def compose(edits: Iterable[Edit]) -> Edit:
    """One edit out of several, applied in the order given.

    Raises:
        RosettaError: there is none.
    """
    edits = list(edits)
    if not edits:
        raise RosettaError("No edit was chosen. Name one or several: edit=[zoom,shift].")
    return edits[0] if len(edits) == 1 else Composed(edits)


def _fill(fill: Fill, floor: Tensor) -> F.Fill:
    return floor if fill == "floor" else fill


def _check_fill(fill: Fill) -> Fill:
    if isinstance(fill, str) and fill not in ("floor", "edge"):
        raise RosettaError(f"fill={fill}: expected floor, edge or a number.")
    return fill


def _check_move(dx: float, dy: float) -> tuple[float, float]:
    if not (abs(dx) <= 1.0 and abs(dy) <= 1.0):
        raise RosettaError(
            f"dx={dx}, dy={dy}: expected fractions of the picture between -1 and 1, such as 0.25."
        )
    return float(dx), float(dy)


def _read_mask(mask: Mask) -> Box | Tensor:
    if isinstance(mask, Tensor):
        return mask
    if isinstance(mask, str | Path):
        try:
            return read_grey(Path(mask).expanduser())
        except BrokenImage as error:
            raise RosettaError(
                f"mask={mask}: this picture cannot be read ({error.reason}).\n"
                "Name an image, white where the edit applies, or a box [left,top,right,bottom]."
            ) from None
    box = tuple(float(value) for value in mask)
    if len(box) != 4 or not (0.0 <= box[0] < box[2] <= 1.0 and 0.0 <= box[1] < box[3] <= 1.0):
        raise RosettaError(
            f"mask={list(box)}: expected a box [left,top,right,bottom] in fractions of the "
            "picture, such as [0,0,0.5,1]."
        )
    return box[0], box[1], box[2], box[3]
