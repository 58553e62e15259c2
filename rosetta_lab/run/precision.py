"""Where arithmetic may be rounded: autocast, and products in TF32 or bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from rosetta_lab.errors import check_choice


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Context in which operations on this type of device keep the precision of their inputs."""
    if device == "meta":  # computes nothing, and has no autocast
        return nullcontext()
    return torch.autocast(device, enabled=False)


@contextmanager
def products_in(device: str, tf32: bool = False) -> Iterator[None]:
    """Context for products of float32 on this type of device, whatever networks may round.

    Args:
        device: its type.
        tf32: whether a GPU may round their factors to TF32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with without_autocast(device):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def set_matmul_precision(precision: str) -> None:
    """How a GPU may round the float32 inputs of networks' matrix products and convolutions.

    Args:
        precision: ``highest`` for not at all; ``high`` allows TF32, and ``medium`` bfloat16 in
            matrix products and TF32 in convolutions.
    """
    check_choice("matmul_precision", precision, ("highest", "high", "medium"))
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"  # PyTorch leaves it on otherwise
