"""Where arithmetic may be rounded: autocast, and products in TF32 or bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Context in which operations on this type of device keep the precision of their inputs."""
    if device == "meta":  # computes nothing, and has no autocast
        return nullcontext()
    return torch.autocast(device, enabled=False)


def set_matmul_precision(precision: str) -> None:
    """How a GPU may round the float32 inputs of matrix products and convolutions.

    Args:
        precision: ``highest`` for not at all; ``high`` allows TF32, and ``medium`` bfloat16 in
            matrix products and TF32 in convolutions.
    """
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"  # PyTorch leaves it on otherwise
