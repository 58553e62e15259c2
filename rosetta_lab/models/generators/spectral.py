"""Linear layers and convolutions with spectral normalisation (Miyato et al., ICLR 2018)."""

from __future__ import annotations

from typing import Any

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
        self._folded: tuple[list[Any], Tensor] | None = None
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

    def normalize(self) -> Tensor:
        """``weight_orig`` divided by its largest singular value."""
        matrix = self.weight_orig.flatten(1)
        # Elementwise, because autocast would round the factors of a matrix product.
        return self.weight_orig / (self.weight_u * (matrix * self.weight_v).sum(1)).sum()

    @property
    def weight(self) -> Tensor:
        """The normalised weight, of the same shape as ``weight_orig``.

        That of a frozen network is kept until one of the tensors behind it changes: computing it
        takes longer than using it where maps are small.
        """
        if self.training or self.weight_orig.requires_grad or torch.compiler.is_compiling():
            return self.normalize()
        tensors = (self.weight_orig, self.weight_u, self.weight_v)
        if any(tensor.is_inference() for tensor in tensors):
            return self.normalize()  # these do not tell when they change
        behind = [(tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors]
        if self._folded is None or self._folded[0] != behind:
            with torch.inference_mode(False):  # or later gradients could not pass through it
                self._folded = behind, self.normalize()
        return self._folded[1]


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
