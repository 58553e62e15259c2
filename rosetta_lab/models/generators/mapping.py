"""The mapping network that StyleGAN2 and StyleGAN3 share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rosetta_lab.models.generators.layers import (
    FullyConnected,
    require_classes,
    rms_normalize,
    truncate,
)


class MappingNetwork(nn.Module):
    """z (and class) to w.

    Both inputs are normalised to unit root mean square before they are joined.

    Args:
        z_dim: width of z.
        c_dim: number of classes; 0 for an unconditional network.
        w_dim: width of w.
        num_ws: how many slots of the synthesis network w is repeated to.
        num_layers: fully connected layers.
        embed_features: width of the class embedding; None means ``w_dim``.
        layer_features: width of the hidden layers; None means ``w_dim``.
        lr_multiplier: of the fully connected layers.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        num_layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.num_ws, self.num_layers = num_ws, num_layers
        embed = (embed_features or w_dim) if c_dim else 0
        hidden = layer_features or w_dim
        widths = [z_dim + embed] + [hidden] * (num_layers - 1) + [w_dim]
        if c_dim:
            self.embed = FullyConnected(c_dim, embed)
        for index in range(num_layers):
            layer = FullyConnected(
                widths[index], widths[index + 1], lr_multiplier=lr_multiplier, activate=True
            )
            self.add_module(f"fc{index}", layer)
        self.w_avg: Tensor
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z (N, z_dim), c (N, c_dim) to w (N, num_ws, w_dim).

        Raises:
            RosettaError: when a conditional network gets no class weights.
        """
        x = rms_normalize(z)
        if self.c_dim:
            classes = self.embed(require_classes(c, self.c_dim))
            x = torch.cat([x, rms_normalize(classes)], dim=1)
        for index in range(self.num_layers):
            x = self.get_submodule(f"fc{index}")(x)
        w = x[:, None].expand(-1, self.num_ws, -1)  # (N, num_ws, w_dim)
        return truncate(w, self.w_avg, psi, cutoff)
