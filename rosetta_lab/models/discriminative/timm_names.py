"""From the names that other libraries give to a network's weights to those of timm."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# EfficientNet, as the PyTorch versions call it that were converted from TensorFlow.
EFFICIENTNET = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
WIDENING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# DINOv2, as Hugging Face's transformers calls it, by the beginnings of names.
PATCHES = "embeddings.patch_embeddings.projection."
DINOV2 = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    PATCHES: "patch_embed.proj.",
    "layernorm.": "norm.",
}
DINOV2_LAYER = {
    "attention.output.dense.": "attn.proj.",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
QKV = [f"attention.attention.{part}." for part in ("query", "key", "value")]
# In ONNX, the position embeddings of the class token and of the patches lie apart.
APART = ("embeddings.Concat_6.0", "embeddings.Reshape_1.0")


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under timm's names, where they are of a library that is known; else as they are.

    Args:
        state: tensors by name, of the whole network.
    """
    if "_conv_stem.weight" in state and "_blocks.0._depthwise_conv.weight" in state:
        return dict(_efficientnet(state))
    wrapped = [name for name in state if name.endswith(f"{PATCHES}weight")]
    if len(wrapped) == 1:
        return _dinov2(state, wrapped[0].removesuffix(f"{PATCHES}weight"))
    return dict(state)


def _efficientnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Blocks are numbered within stages by timm; a stage begins where the channels change."""
    places: list[tuple[int, int]] = []  # stage and block of it
    channels = 0
    while (weight := state.get(f"_blocks.{len(places)}._project_conv.weight")) is not None:
        stage, block = places[-1] if places else (-1, 0)
        places.append((stage, block + 1) if weight.shape[0] == channels else (stage + 1, 0))
        channels = weight.shape[0]
    renamed = {}
    for name, value in state.items():
        if match := re.fullmatch(r"_blocks\.(\d{1,3})\.(\w+)(\..+)", name):
            number, module, rest = int(match[1]), match[2], match[3]
            widens = f"_blocks.{number}._expand_conv.weight" in state
            known = (WIDENING_BLOCK if widens else BLOCK).get(module)
            if known and number < len(places):
                stage, block = places[number]
                name = f"blocks.{stage}.{block}.{known}{rest}"
        else:
            module, dot, rest = name.partition(".")
            name = EFFICIENTNET.get(module, module) + dot + rest
        renamed[name] = value
    return renamed


def _dinov2(state: Mapping[str, Tensor], wrapper: str) -> dict[str, Tensor]:
    """Query, key and value are one layer in timm. What stands beside the backbone is left out."""
    inner = {n.removeprefix(wrapper): v for n, v in state.items() if n.startswith(wrapper)}
    if all(name in inner for name in APART):
        parts = [inner.pop(name) for name in APART]
        inner["embeddings.position_embeddings"] = torch.cat(parts, dim=1)
    renamed = {}
    for name, value in inner.items():
        layer = re.match(r"encoder\.layer\.(\d+)\.", name)
        if layer is None:
            renamed[_replaced(name, DINOV2)] = value
            continue
        rest, block = name[layer.end() :], f"blocks.{layer[1]}."
        if rest.startswith(QKV[0]):
            last = rest.removeprefix(QKV[0])
            parts = [inner[f"{layer[0]}{part}{last}"] for part in QKV]
            renamed[f"{block}attn.qkv.{last}"] = torch.cat(parts)
        elif not rest.startswith(tuple(QKV)):
            renamed[block + _replaced(rest, DINOV2_LAYER)] = value
    return renamed


def _replaced(name: str, beginnings: Mapping[str, str]) -> str:
    """``name`` with its beginning replaced, if it is one of those."""
    for theirs, ours in beginnings.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
