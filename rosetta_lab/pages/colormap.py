"""The perceptually uniform colour map of the pages' heatmaps."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# "inferno" (S. van der Walt and N. Smith, 2015, CC0) at 32 equal steps. Equal steps of value look
# equally large, lightness rises all the way, and every common colour blindness can read it.
# Linear interpolation between the anchors stays within 2/255 of the published 256 colours.
_INFERNO = (
    "000004 040313 0b0725 160b39 220c4c 310a5c 3f0a66 4d0c6b "
    "5a116e 67166e 741b6e 811f6c 8e2469 9b2964 a82e5f b53358 "
    "c13a51 cc4248 d74b3f e05536 e8612c ef6d22 f57b17 f8890c "
    "fb9806 fca80d fbb81c f9c830 f6d847 f2e763 f3f585 fcffa4"
)
ANCHORS = tuple(_INFERNO.split())


def colourise(values: Tensor) -> Tensor:
    """Colours of values.

    Args:
        values: (..., H, W); 0 is the darkest colour, 1 the lightest, what lies outside is clamped.

    Returns:
        sRGB colours (..., 3, H, W) in [0, 1].
    """
    table = _table()
    place = values.float().clamp(0.0, 1.0) * (len(table) - 1)
    return table[place.round().long()].movedim(-1, -3)


@cache
def _table() -> Tensor:
    """256 colours (256, 3): as many as a pixel can tell apart."""
    anchors = torch.tensor([list(bytes.fromhex(anchor)) for anchor in ANCHORS]) / 255.0  # (A, 3)
    return F.interpolate(anchors.t()[None], 256, mode="linear", align_corners=True)[0].t()


def css_gradient() -> str:
    """The colour map from left to right, as a CSS image for the legend."""
    return f"linear-gradient(to right, {', '.join('#' + anchor for anchor in ANCHORS)})"
