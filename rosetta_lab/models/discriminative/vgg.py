"""A small VGG (Simonyan and Zisserman, ICLR 2015): 3x3 convolutions, ReLU and max pooling only.

Its features make good perceptual distances: maps shrink only by pooling, and nothing normalises
over the image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from rosetta_lab.models.checkpoints import build, load_weights
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.preprocess import Preprocess


class SmallVGG(nn.Module):
    """Stages of two convolutions each, global average pooling, a linear classifier.

    Args:
        channels: of every stage; each halves the maps at its end.
        num_classes: outputs.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        widths = [3, *channels]
        self.stages = nn.Sequential(
            *(stage(before, width) for before, width in zip(widths, channels, strict=False))
        )
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.stages(images).mean(dim=(2, 3)))
        return logits


def stage(before: int, width: int) -> nn.Sequential:
    """``conv1, relu1, conv2, relu2, pool``: (N, before, H, W) to (N, width, H/2, W/2)."""
    convolutions = [nn.Conv2d(channels, width, 3, padding=1) for channels in (before, width)]
    for convolution in convolutions:  # without normalisation, the gain has to be right
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    names = ("conv1", "relu1", "conv2", "relu2", "pool")
    modules = (convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(OrderedDict(zip(names, modules, strict=True)))


class SmallVGGModel(DiscriminativeModel):
    """A :class:`SmallVGG` with its weights and its layers.

    Args:
        channels: see :class:`SmallVGG`.
        num_classes: see :class:`SmallVGG`.
        weights: ``random``, or a source that
            :func:`rosetta_lab.models.checkpoints.load_weights` understands.
        layers: see :class:`DiscriminativeModel`.
        preprocess: fields of :class:`Preprocess`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        weights: str,
        layers: Iterable[str],
        preprocess: Mapping[str, Any],
    ) -> None:
        make = partial(SmallVGG, channels, num_classes)
        if weights == "random":
            network, source, sha256 = make(), "random", ""
        else:
            loaded = load_weights(weights)
            network, source, sha256 = build(make, loaded), loaded.source, loaded.sha256
        super().__init__(network, Preprocess(**preprocess), layers, source, sha256)
        self.num_classes = num_classes
