"""Pivotal tuning (Roich et al., TOG 2022; Rosetta Neurons, Fig. 23).

Where a fixed generator cannot show an image, its weights are tuned for that one image while the
inverted latent, the pivot, stays. Edits then start from the tuned generator.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.models.base import Generator
from rosetta_lab.models.perceptual import Perceptual

TUNED = "generator.safetensors"  # beside an image's latent


def pivotal_tuning(
    code: LatentCode,
    image: Tensor,
    perceptual: Perceptual | None,
    steps: int = 350,
    lr: float = 3e-4,
    l2: float = 1.0,
) -> Generator:
    """Tune a copy of a generator so that one latent gives one image.

    Args:
        code: the latent of one image; it does not change.
        image: the target (1, 3, R, R) in [0, 1].
        perceptual: distance of the loss; None for pixels alone.
        steps: of Adam.
        lr: its learning rate.
        l2: weight of the mean squared difference of pixels.

    Returns:
        the tuned copy, fixed; the code's own generator stays as it was.
    """
    tuned = copy.deepcopy(code.generator).requires_grad_(True)
    with torch.no_grad():
        latent = code()
        features = [] if perceptual is None else perceptual.embed(image)
    optimizer = torch.optim.Adam(tuned.parameters(), lr)
    for _ in range(steps):
        shown = tuned.shown(tuned.synthesize(latent, code.psi))
        loss = l2 * (shown - image).square().mean()
        if perceptual is not None:
            loss = loss + perceptual.distance(perceptual.embed(shown), features).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return tuned.requires_grad_(False)
