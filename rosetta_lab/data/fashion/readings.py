"""What a fashion scene shows, read from the picture alone: the garment's place, size and hue.

For pictures that nobody labelled, such as a generator's. The background of a scene is one colour
that gets lighter or darker from top to bottom; the garment is what differs from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLD = 0.2  # distance in RGB from the background at which the garment begins
CUT = 0.2  # of the border's pixels, that something before plain ground may take
_RING = 2  # pixels along the border that the background is estimated from
_ITERATIONS = 20


@dataclass
class Readings:
    """A batch of pictures as read. Where no garment was found, all but the area are NaN.

    Attributes:
        mask: where the garment is, boolean (N, H, W).
        whole: whether something stands before plain ground, and the border hardly cuts it: else the
            picture is none of a garment, and nothing read from it means anything (N,).
        area: of the mask, as a fraction of the picture (N,).
        box: left, top, right and bottom of the mask, fractions of the picture (N, 4).
        centre: x and y of the box's middle (N, 2); nearly that of Fashion-MNIST's own box, which
            its garments fill along their longer side.
        scale: the box's longer side as a fraction of the picture (N,).
        hue: of the garment's mean colour, degrees in [0, 360) (N,): the mean over the circle, in
            which pixels count by how colourful they are.
    """

    mask: Tensor
    whole: Tensor
    area: Tensor
    box: Tensor
    centre: Tensor
    scale: Tensor
    hue: Tensor


def read_scenes(images: Tensor) -> Readings:
    """Read pictures of garments.

    Args:
        images: (N, 3, H, W) in [0, 1].
    """
    mask = garment_mask(images)
    colour = (images * mask[:, None]).sum(dim=(2, 3)) / mask.sum(dim=(1, 2))[:, None]  # (N, 3)
    box = bounding_box(mask)
    return Readings(
        mask=mask,
        whole=mask.flatten(1).any(dim=1) & (mask[:, _ring(mask)].float().mean(dim=1) <= CUT),
        area=mask.to(images).mean(dim=(1, 2)),
        box=box,
        centre=(box[:, :2] + box[:, 2:]) / 2.0,
        scale=(box[:, 2:] - box[:, :2]).amax(dim=1),
        hue=hue_of(colour),
    )


def background(images: Tensor) -> Tensor:
    """The background as if nothing stood before it: a colour and a slope down the rows.

    Fitted to the border pixels by least absolute distances in RGB, so that a garment that touches
    the border does not count.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 3, H, 1) in [0, 1].
    """
    height, width = images.shape[2:]
    ring = _ring(images)
    down = torch.linspace(-1.0, 1.0, height, dtype=images.dtype, device=images.device)
    place = down[:, None].expand(height, width)[ring]  # (P,)
    pixels = images[:, :, ring]  # (N, 3, P)
    colour, slope = pixels.median(dim=2).values, torch.zeros_like(pixels[:, :, 0])  # (N, 3) each
    for _ in range(_ITERATIONS):  # weighted least squares; the weights make distances of squares
        fitted = colour[:, :, None] + slope[:, :, None] * place
        weight = 1.0 / (pixels - fitted).norm(dim=1, keepdim=True).clamp(min=1e-3)  # (N, 1, P)
        weight = weight / weight.sum(dim=2, keepdim=True)
        middle = (weight * place).sum(dim=2, keepdim=True)
        colour = (weight * pixels).sum(dim=2)
        spread = (weight * (place - middle).square()).sum(dim=2)
        slope = (weight * (place - middle) * (pixels - colour[:, :, None])).sum(dim=2) / spread
        colour = colour - slope * middle[:, :, 0]
    return (colour[:, :, None] + slope[:, :, None] * down)[..., None].clamp(0.0, 1.0)


def garment_mask(images: Tensor) -> Tensor:
    """Where a garment hides the background of images (N, 3, H, W) in [0, 1]: bool (N, H, W)."""
    different: Tensor = (images - background(images)).norm(dim=1) > THRESHOLD
    return different & (_neighbours(different) >= 3.0)  # specks are no garment


def bounding_box(mask: Tensor) -> Tensor:
    """Left, top, right and bottom (N, 4) of masks (N, H, W), in fractions; NaN where empty."""
    sides = []
    for axis in (1, 2):  # over the rows, which leaves x; over the columns, which leaves y
        line = mask.any(dim=axis).float()  # (N, K)
        cells = line.shape[1]
        first, last = line.argmax(dim=1), cells - line.flip(1).argmax(dim=1)
        sides += [first / cells, last / cells]
    box = torch.stack([sides[0], sides[2], sides[1], sides[3]], dim=1)
    return box.masked_fill(~mask.flatten(1).any(dim=1)[:, None], torch.nan)


def hue_of(colour: Tensor) -> Tensor:
    """HSV hue of colours (N, 3): degrees in [0, 360) (N,)."""
    red, green, blue = colour.unbind(dim=1)
    value, chroma = colour.amax(dim=1), colour.amax(dim=1) - colour.amin(dim=1)
    sextant = torch.where(
        value == red,
        (green - blue) / chroma,
        torch.where(value == green, (blue - red) / chroma + 2.0, (red - green) / chroma + 4.0),
    )
    return (sextant * 60.0) % 360.0


def hue_error(first: Tensor, second: Tensor) -> Tensor:
    """Distance between hues in degrees, around the circle: in [0, 180]."""
    return ((first - second + 180.0) % 360.0 - 180.0).abs()


def _ring(pictures: Tensor) -> Tensor:
    """The border of pictures (..., H, W): bool (H, W)."""
    ring = torch.ones(pictures.shape[-2:], dtype=torch.bool, device=pictures.device)
    ring[_RING:-_RING, _RING:-_RING] = False
    return ring


def _neighbours(mask: Tensor) -> Tensor:
    """How many of the nine pixels around and at each of a mask (N, H, W) belong to it."""
    kernel = torch.ones(1, 1, 3, 3, device=mask.device)
    return F.conv2d(mask[:, None].float(), kernel, padding=1)[:, 0]
