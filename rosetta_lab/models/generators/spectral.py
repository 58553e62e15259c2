"""Linear layers and convolutions with spectral normalisation (Miyato et al., ICLR 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POWER_ITERATIONS = 5  # of new weights: the largest singular value to about a tenth


class SpectralModule(nn.Module):
    """A weight divided by its largest singular value.

    The value is ``u . W v`` for the stored vectors ``u`` and ``v``. In training every pass improves
    them by one power iteration; otherwise they are taken as they are: published weights hold the
    vectors that they were trained with.

    Args:
        shape: of the weight, (outputs, ...).
        bias: have a bias at all.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *shape: int, bias: bool = True) -> None:
        super().__init__()
        # The scale only matters to the optimiser: at 1, learning rates suit every layer alike.
        self.weight_orig = nn.Parameter(torch.randn(*shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("weight_u", torch.randn(shape[0]))
        self.register_buffer("weight_v", torch.empty(self.weight_orig[0].numel()))
        for _ in range(POWER_ITERATIONS):
            self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        """One power iteration."""
        matrix = self.weight_orig.flatten(1)
        # New tensors: backward still needs those of the pass before.
        self.weight_v = F.normalize(matrix.t() @ self.weight_u, dim=0)
        self.weight_u = F.normalize(matrix @ self.weight_v, dim=0)

    @torch.no_grad()
    def converge(self) -> None:
        """Replace the vectors by what the power iterations lead to."""
        u, _, v = torch.linalg.svd(self.weight_orig.flatten(1), full_matrices=False)
        self.weight_u, self.weight_v = u[:, 0].contiguous(), v[0].contiguous()

    @property
    def weight(self) -> Tensor:
        """The normalised weight, of the same shape as ``weight_orig``."""
        matrix = self.weight_orig.flatten(1)
        # Elementwise, because autocast would round the factors of a matrix product.
        return self.weight_orig / (self.weight_u * (matrix * self.weight_v).sum(1)).sum()


class SpectralLinear(SpectralModule):
    """Linear layer with spectral normalisation."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(out_features, in_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.iterate()
        return F.linear(x, self.weight, self.bias)


class SpectralConv2d(SpectralModule):
    """Convolution with spectral normalisation that keeps the size of the maps."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(outputs, inputs, kernel, kernel, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.iterate()
        return F.conv2d(x, self.weight, self.bias, padding=self.weight_orig.shape[-1] // 2)
