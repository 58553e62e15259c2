"""How a model wants its images: size, interpolation, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.errors import RosettaError

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocess:
    """Images in [0, 1] to what a model was trained on.

    The whole image is resized to the model's input size. Nothing is cropped, unlike in the
    published evaluation transforms: every position of the generator's maps must have a counterpart
    in the model's.

    Attributes:
        size: input height and width in pixels; one number stands for a square.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: subtracted, per RGB channel, in units of [0, 1].
        std: divided by, per RGB channel.
        antialias: low-pass filter where the image shrinks, as PIL does.
    """

    size: tuple[int, int]
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    antialias: bool = True

    def __post_init__(self) -> None:
        size: Any = self.size
        size = (size, size) if isinstance(size, int) else tuple(int(n) for n in size)
        if len(size) != 2 or min(size) < 1:
            raise RosettaError(f"preprocess.size={self.size}: expected one positive number or two.")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise RosettaError(
                f"preprocess.interpolation={self.interpolation}: expected bilinear or bicubic."
            )
        # Frozen, and YAML gives lists and whole numbers.
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0.0:
            raise RosettaError(
                f"preprocess.mean={self.mean}, std={self.std}: expected three numbers each, "
                "one per RGB channel, and no std of 0."
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to normalised images (N, 3, *size)."""
        if images.shape[-2:] != self.size:
            images = F.interpolate(
                images,
                size=self.size,
                mode=self.interpolation,
                align_corners=False,
                antialias=self.antialias,
            ).clamp(0.0, 1.0)  # bicubic weights overshoot
        return self.normalize(images)

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, 3, h, w) in [0, 1] of any size to zero mean and unit deviation."""
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)
        return (images - mean[:, None, None]) / std[:, None, None]

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_timm(
        cls, pretrained_cfg: Mapping[str, Any], img_size: Any | None = None
    ) -> Preprocess:
        """From a timm model's ``pretrained_cfg``, and the size that it was built for if another."""
        return cls(
            size=img_size or pretrained_cfg["input_size"][1:],
            interpolation=pretrained_cfg.get("interpolation") or "bicubic",
            mean=tuple(pretrained_cfg["mean"]),
            std=tuple(pretrained_cfg["std"]),
        )

    @classmethod
    def from_open_clip(cls, preprocess_cfg: Mapping[str, Any]) -> Preprocess:
        """From what ``open_clip`` keeps as a model's ``visual.preprocess_cfg``."""
        return cls(
            size=preprocess_cfg["size"],
            interpolation=preprocess_cfg.get("interpolation", "bicubic"),
            mean=tuple(preprocess_cfg["mean"]),
            std=tuple(preprocess_cfg["std"]),
        )
