"""Products in other arithmetics against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rosetta_lab.functional import products
from rosetta_lab.functional.products import Products, add_product, in_bfloat16


@pytest.fixture(scope="module")
def factors() -> tuple[Tensor, Tensor]:
    """As many terms as 8 images of 28 x 28 have, of units with spreads from 1e-3 to 1e3."""
    source = torch.Generator().manual_seed(0)
    left, right = (torch.randn(6272, units, generator=source) for units in (70, 90))
    return left * torch.logspace(-3, 3, 70), (right + left[:, :1]) * torch.logspace(3, -3, 90)


def off(found: Tensor, left: Tensor, right: Tensor) -> float:
    """The largest error, as one of a correlation."""
    left, right = left.double(), right.double()
    change = found.double() - left.t() @ right
    return float((change / left.norm(dim=0)[:, None] / right.norm(dim=0)).abs().max())


@pytest.mark.parametrize(
    ("arithmetic", "least", "most"),
    [("float32", 0.0, 1e-6), ("tf32", 0.0, 1e-6), ("split", 0.0, 1e-6), ("bf16", 1e-5, 1e-3)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_against_float64(
    factors: tuple[Tensor, Tensor],
    arithmetic: Products,
    least: float,
    most: float,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "SLAB", 1000)  # eleven rows at a time
    sums = torch.zeros(70, 90, dtype=dtype)
    add_product(sums, *factors, arithmetic)
    assert least <= off(sums, *factors) < most
    add_product(sums, *factors, arithmetic)
    assert least <= off(sums / 2, *factors) < most


def test_two_bfloat16_are_sixteen_bits(factors: tuple[Tensor, Tensor]) -> None:
    left, right = in_bfloat16(*factors, split=True)
    assert left.dtype == right.dtype == torch.bfloat16 and len(left) == len(right) == 3 * 6272
    whole = left[:6272].double() + left[2 * 6272 :].double()  # large and small part
    assert float(((whole - factors[0]) / factors[0]).abs().max()) <= 2.0**-16
