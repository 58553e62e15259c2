"""Checks on single tensors, whatever file they come from."""

from __future__ import annotations

import torch
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget

PLAIN = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}


def dense(tensor: Tensor, name: str = "a tensor", budget: Budget | None = None) -> Tensor:
    """A contiguous copy on the CPU of ``tensor`` with memory of its own.

    Args:
        tensor: what a file holds.
        name: for messages.
        budget: where to count its bytes; a file can name one tensor a million times.

    Raises:
        RosettaError: it is sparse, quantised or the like, or its view is larger than its storage
            (a few bytes can claim to be terabytes that way).
    """
    if tensor.layout is not torch.strided or tensor.dtype not in PLAIN or tensor.is_meta:
        raise RosettaError(
            f"{name} is {tensor.layout}, {tensor.dtype}, on {tensor.device}; "
            "expected a plain tensor of numbers.\nThe file is damaged or not a checkpoint."
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise RosettaError(
            f"{name} claims the shape {tuple(tensor.shape)}, more than the file holds for it.\n"
            "The file is damaged: download it again."
        )
    if budget is not None:
        budget.spend(tensor.nbytes)
    return tensor.detach().clone(memory_format=torch.contiguous_format)
