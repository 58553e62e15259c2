"""What an inversion minimises: a weighted sum of named parts (paper, Eq. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.agreement import Agreement, Joint
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.models.perceptual import Perceptual

Part = Literal["activation", "perceptual", "l1", "l2", "latent_l1", "latent_l2"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass
class Evaluation:
    """One look at the latents.

    Attributes:
        images: (N, 3, R, R), 0 black and 1 white, not clamped.
        parts: loss of every part with a weight other than 0, unweighted (N,).
        total: their weighted sum (N,).
    """

    images: Tensor
    parts: dict[str, Tensor]
    total: Tensor


class Objective:
    """L = L_rec(G(z), I) + alpha * L_reg(z) - beta * L_act(z, I), image by image.

    Args:
        weights: of the parts. ``activation`` is minus the mean agreement with the targets,
            ``perceptual`` a distance in a network's features, ``l1`` and ``l2`` are means over
            pixels and colours, ``latent_l1`` and ``latent_l2`` means over the latent's dimensions
            of its distance to its anchor. A part without a weight is not computed.
        images: targets (N, 3, R, R) in [0, 1]; None where no part looks at them.
        agreement: with the targets of the Rosetta units; None for no activation loss.
        perceptual: the distance; None for no perceptual loss.

    Raises:
        RosettaError: an unknown part, or one that lacks what it needs.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        images: Tensor | None = None,
        agreement: Agreement | Joint | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        unknown = set(weights) - set(PARTS)
        if unknown:
            raise RosettaError(
                f"loss: there is no part '{sorted(unknown)[0]}'.\nChoose from {', '.join(PARTS)}."
            )
        self.weights = {part: weight for part, weight in weights.items() if weight}
        needs: dict[str, object] = {
            "activation": agreement,
            "perceptual": None if images is None else perceptual,
            "l1": images,
            "l2": images,
        }
        for part in self.weights:
            if needs.get(part, self) is None:
                raise RosettaError(
                    f"loss.{part}={self.weights[part]}, but there is nothing to compare with.\n"
                    f"Set loss.{part}=0, or choose what it needs (matches=, perceptual=)."
                )
        self.images, self.agreement, self.perceptual = images, agreement, perceptual
        self.features: Sequence[Tensor] = ()
        if "perceptual" in self.weights and perceptual is not None and images is not None:
            with torch.no_grad():
                self.features = perceptual.embed(images)

    def __call__(self, code: LatentCode) -> Evaluation:
        """Evaluate the latents; gradients reach them."""
        layers = self.agreement.layers if "activation" in self.weights and self.agreement else []
        images, maps = code.images_and_maps(layers)
        parts = {part: self._part(part, code, images, maps) for part in self.weights}
        zero = images.new_zeros(len(images))
        total = sum((self.weights[part] * loss for part, loss in parts.items()), zero)
        return Evaluation(images, parts, total)

    def _part(
        self, part: str, code: LatentCode, images: Tensor, maps: Mapping[str, Tensor]
    ) -> Tensor:
        if part == "activation":
            assert self.agreement is not None
            return -self.agreement(maps)
        if part == "perceptual":
            assert self.perceptual is not None
            return self.perceptual.distance(self.perceptual.embed(images), self.features)
        if part in ("l1", "l2"):
            assert self.images is not None
            difference = (images - self.images).flatten(1)
        else:
            difference = (code.value - code.anchor).flatten(1)
        return (difference.abs() if part.endswith("l1") else difference.square()).mean(dim=1)
