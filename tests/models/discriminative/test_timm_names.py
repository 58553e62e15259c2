"""Weights under the names of other libraries: the same networks."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor
from torch.nn import functional as F

from rosetta_lab.models.discriminative.timm import with_positions
from rosetta_lab.models.discriminative.timm_names import timm_names

TINY: dict[str, Any] = {"img_size": 28, "embed_dim": 12, "depth": 11, "num_heads": 3}
DINOV2 = "vit_small_patch14_dinov2"


def theirs(network: torch.nn.Module) -> dict[str, Tensor]:
    """A timm ViT's weights as transformers' Dinov2 has them, within a network with a decoder."""
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = name.replace("pos_embed", "embeddings.position_embeddings")
        name = name.replace("cls_token", "embeddings.cls_token").replace("blocks", "encoder.layer")
        name = name.replace("attn.proj", "attention.output.dense")
        name = name.replace("ls1.gamma", "layer_scale1.lambda1")
        name = name.replace("ls2.gamma", "layer_scale2.lambda1")
        name = f"layernorm{name[4:]}" if name.startswith("norm") else name
        if "attn.qkv" in name:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[name.replace("attn.qkv", f"attention.attention.{part}")] = third
        else:
            state[name] = value
    return {f"backbone.{name}": value for name, value in state.items()} | {
        "decoder.bn1.weight": torch.ones(2)
    }


@pytest.mark.parametrize("apart", [False, True], ids=["transformers", "onnx"])
def test_dinov2(apart: bool) -> None:
    torch.manual_seed(0)
    saved: Any = timm.create_model(DINOV2, **TINY).eval()
    torch.nn.init.normal_(saved.pos_embed)
    state = theirs(saved)
    if apart:
        both = state.pop("backbone.embeddings.position_embeddings")
        state["backbone.embeddings.Concat_6.0"] = both[:, :1]
        state["backbone.embeddings.Reshape_1.0"] = both[:, 1:]
    renamed = timm_names(state)
    assert renamed.keys() == saved.state_dict().keys()
    loaded: Any = timm.create_model(DINOV2, **TINY).eval()
    loaded.load_state_dict(renamed)
    images = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded(images), saved(images))


def test_efficientnet_keeps_the_order() -> None:
    """Both libraries list the layers as they run; only the names differ."""
    saved = timm.create_model("tf_efficientnet_lite1")
    state = saved.state_dict()
    kinds = {
        2: {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"},
        3: {
            **{"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"},
            **{"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"},
        },
    }
    top = {
        **{"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"},
        "classifier": "_fc",
    }
    blocks = [module for stage in saved.blocks for module in stage]
    names = dict(saved.named_modules())
    original = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            block = names[".".join(parts[:3])]
            kind = kinds[3 if hasattr(block, "bn3") else 2]
            number = next(i for i, other in enumerate(blocks) if other is block)
            original[f"_blocks.{number}.{kind[parts[3]]}.{parts[4]}"] = value
        else:
            original[f"{top[parts[0]]}.{parts[1]}"] = value
    assert len(original) == len(state)
    renamed = timm_names(original)
    assert list(renamed) == list(state)
    assert all(renamed[name] is value for name, value in state.items())


def test_other_weights_keep_their_names() -> None:
    state = {"layer1.0.conv1.weight": torch.ones(1), "_fc.weight": torch.ones(1)}
    assert timm_names(state) == state


def test_position_embeddings_shrink_without_a_filter() -> None:
    """As torch interpolates; timm's own way differs."""
    torch.manual_seed(0)
    large = timm.create_model(DINOV2, **TINY | {"img_size": 98, "depth": 1}).state_dict()
    large["pos_embed"] = torch.randn(1, 1 + 49, 12)
    small = with_positions(DINOV2, large, TINY | {"depth": 1})
    grid = large["pos_embed"][:, 1:].transpose(1, 2).reshape(1, 12, 7, 7)
    expected = F.interpolate(grid, size=(2, 2), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(small["pos_embed"][:, 1:], expected)
    assert torch.equal(small["pos_embed"][:, 0], large["pos_embed"][:, 0])
    filtered = resample_abs_pos_embed(large["pos_embed"], (2, 2))
    assert (small["pos_embed"] - filtered).abs().max() > 0.1
    assert all(small[name] is value for name, value in large.items() if name != "pos_embed")
