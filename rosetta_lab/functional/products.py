"""Products of activations, in the arithmetic that a device is fast at."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Products = Literal["float32", "split", "tf32", "bf16"]
SLAB = 2**26  # values of a product at a time, where it is made beside the sums
# With fewer units, BLAS adds term after term to the sums, which costs a digit of float32 in
# thousands of batches; else it adds a batch's product.
FEW = 32


def add_product(sums: Tensor, left: Tensor, right: Tensor, products: Products) -> None:
    """Add ``left.T @ right`` to sums, in place.

    Args:
        sums: (A, B), float32 or float64.
        left: (N, A), float32.
        right: (N, B), float32.
        products: ``float32``, or ``tf32``, which is the same here: whoever calls sets what a device
            may round (see :func:`rosetta_lab.run.precision.products_in`). ``bf16`` rounds every
            value to bfloat16, of 8 bits, which tensor cores multiply many times as fast; they add
            in float32. ``split`` makes of every value the sum of two of bfloat16, 16 bits in all,
            and multiplies all but the two small parts with each other: x*y = x1*y1 + x1*y2 + x2*y1,
            one product of three times as many terms.
    """
    if products in ("split", "bf16"):
        left, right = in_bfloat16(left, right, split=products == "split")
        if left.device.type == "cpu":  # whose kernels would round the result, too
            left, right = left.float(), right.float()
    if left.dtype == sums.dtype and min(sums.shape) >= FEW:
        sums.addmm_(left.t(), right)
        return
    rows = max(1, SLAB // sums.shape[1])
    for start in range(0, len(sums), rows):
        part = left[:, start : start + rows].t()
        sums[start : start + rows] += (
            part @ right if part.dtype == torch.float32 else torch.mm(part, right, torch.float32)
        )


def in_bfloat16(left: Tensor, right: Tensor, split: bool) -> tuple[Tensor, Tensor]:
    """Factors (N, A) and (N, B) in bfloat16; in two parts each (3N, A), (3N, B) where split."""
    if not split:
        return left.bfloat16(), right.bfloat16()
    (a1, a2), (b1, b2) = _parts(left), _parts(right)
    return torch.cat([a1, a1, a2]), torch.cat([b1, b2, b1])


def _parts(values: Tensor) -> tuple[Tensor, Tensor]:
    large = values.bfloat16()
    return large, (values - large.float()).bfloat16()
