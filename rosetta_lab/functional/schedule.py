"""The learning rate of an inversion."""

from __future__ import annotations

import math


def ramp(progress: float, up: float = 0.05, down: float = 0.25) -> float:
    """Factor of the learning rate: a linear rise at first, a cosine fall at the end.

    Args:
        progress: share of the optimisation that is over, in [0, 1].
        up: share of it in which the factor rises from 0 to 1; 0 for none.
        down: share of it, at its end, in which the factor falls to 0 by a cosine; 0 for none.
    """
    factor = min(1.0, progress / up) if up else 1.0
    if down:
        factor *= 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - progress) / down))
    return factor
