"""StyleGAN-XL (Sauer et al., SIGGRAPH 2022): a class-conditional StyleGAN3 grown in stages.

Parameters and buffers carry the names of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from rosetta_lab.models.generators.geometry import Progression, SuperresStage
from rosetta_lab.models.generators.layers import (
    FullyConnected,
    require_classes,
    rms_normalize,
    truncate,
)
from rosetta_lab.models.generators.recorded import Recorded, as_recorded
from rosetta_lab.models.generators.stylegan3 import (
    AliasFreeGenerator,
    ProgressionOptions,
    SynthesisNetwork,
)


class ClassTable(nn.Module):
    """One row of features for every class.

    Args:
        rows: at least as many as there are classes.
        features: width of a row.
    """

    def __init__(self, rows: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, features))

    def forward(self, c: Tensor) -> Tensor:
        """Class weights (N, classes) to the mixture of their rows (N, features)."""
        return c @ self.weight[: c.shape[1]]


class ClassMappingNetwork(nn.Module):
    """z and a class to w, with pretrained class embeddings and a mean w for every class.

    Args:
        z_dim: width of z.
        c_dim: number of classes; 0 for an unconditional network, whose table lies idle.
        w_dim: width of w.
        num_ws: how many slots of the synthesis network w is repeated to.
        num_layers: fully connected layers.
        lr_multiplier: of the fully connected layers.
        num_embeddings: rows of the class table, at least ``c_dim``.
        embedding_dim: width of the class table.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        num_layers: int = 2,
        lr_multiplier: float = 0.01,
        num_embeddings: int = 1000,
        embedding_dim: int = 320,
    ) -> None:
        super().__init__()
        self.c_dim, self.num_ws, self.num_layers = c_dim, num_ws, num_layers
        self.embed = ClassTable(num_embeddings, embedding_dim)
        if c_dim:
            self.embed_proj = FullyConnected(embedding_dim, z_dim, activate=True)
        widths = [2 * z_dim if c_dim else z_dim] + [w_dim] * num_layers
        for index in range(num_layers):
            layer = FullyConnected(
                widths[index], widths[index + 1], lr_multiplier=lr_multiplier, activate=True
            )
            self.add_module(f"fc{index}", layer)
        self.register_buffer("w_avg", torch.zeros(*((c_dim, w_dim) if c_dim else (w_dim,))))

    def forward(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z (N, z_dim), c (N, c_dim) to w (N, num_ws, w_dim).

        Truncation moves towards the mean w of the class. Weights of several classes mix their
        embeddings and means, so that they can be optimised; the networks were trained with one.

        Raises:
            RosettaError: when a conditional network gets no class weights.
        """
        x, w_avg = rms_normalize(z), self.w_avg
        if self.c_dim:
            c = require_classes(c, self.c_dim)
            x = torch.cat([x, rms_normalize(self.embed_proj(self.embed(c)))], dim=1)
            w_avg = c @ w_avg
        for index in range(self.num_layers):
            x = self.get_submodule(f"fc{index}")(x)
        w = x[:, None].expand(-1, self.num_ws, -1)  # (N, num_ws, w_dim)
        return truncate(w, w_avg, psi, cutoff)


class StyleGANXL(AliasFreeGenerator):
    """StyleGAN-XL generator: a stem of low resolution and superresolution stages on top.

    The defaults are the ImageNet stem at 16 px; ImageNet at 256 px adds stages of 32, 64, 128 and
    256 px with 7 head layers each.

    Args:
        z_dim: width of z.
        c_dim: number of classes, 0 for none.
        w_dim: width of w.
        img_resolution: height and width of the stem's image, a power of two.
        img_channels: colours.
        mapping_kwargs: of :class:`ClassMappingNetwork`.
        superres: stages in order, each with the keys of :class:`SuperresStage`.
        output_scale: factor from the last layer's output to the image.
        pixel_range: range that the images nominally have.
        recorded: what a checkpoint tells of its layers, see :func:`as_recorded`.
        **progression: of the stem, see :class:`Progression`.
    """

    def __init__(
        self,
        z_dim: int = 64,
        c_dim: int = 1000,
        w_dim: int = 512,
        img_resolution: int = 16,
        img_channels: int = 3,
        mapping_kwargs: dict[str, int | float] | None = None,
        superres: Sequence[Mapping[str, int]] = (),
        output_scale: float = 0.25,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
        recorded: Recorded | None = None,
        **progression: Unpack[ProgressionOptions],
    ) -> None:
        defaults = ProgressionOptions(channel_base=65536, channel_max=1024, num_layers=10)
        stem = Progression(img_resolution, img_channels, **(defaults | progression))
        layers = stem.extended([SuperresStage(**stage) for stage in superres])
        layers = as_recorded(layers, recorded)
        mapping = ClassMappingNetwork(
            z_dim,
            c_dim,
            w_dim,
            num_ws=len(layers) + 1,
            **(mapping_kwargs or {}),  # type: ignore[arg-type]
        )
        synthesis = SynthesisNetwork(layers, w_dim, output_scale)
        super().__init__(z_dim, c_dim, layers, mapping, synthesis, pixel_range)
