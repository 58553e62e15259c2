"""Weights made for another size of images, or with a head that is not wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.timm import TimmModel

TINY = "test_resnet.r160_in1k"  # timm's own, for tests
DINOV2 = "vit_small_patch14_dinov2.lvd142m"


def test_position_embeddings_of_another_size_fit(tmp_path: Path) -> None:
    """DINOv2's file is for 518 px. Its authors' own has a mask token, too."""
    torch.manual_seed(0)
    large = timm.create_model(DINOV2, img_size=518, depth=1)
    assert large.pos_embed.shape[1] == 1 + 37**2
    torch.save(large.state_dict() | {"mask_token": torch.zeros(1, 384)}, tmp_path / "w.pth")
    small = TimmModel(
        DINOV2, str(tmp_path / "w.pth"), ["blocks.*.mlp.act"], None, {"img_size": 224, "depth": 1}
    )
    assert small.network.pos_embed.shape[1] == 1 + 16**2
    for name, value in large.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(small.network.state_dict()[name], value), name
    resized = F.interpolate(
        large.pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, 37, 37),
        size=(16, 16),
        mode="bicubic",
        antialias=True,
    )
    ours = small.network.pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, 16, 16)
    torch.testing.assert_close(ours, resized, atol=1e-5, rtol=0)


def test_a_head_is_dropped_where_none_is_wanted(tmp_path: Path) -> None:
    """And nothing else: whatever is missing besides is an error."""
    whole = TimmModel(TINY, "random", ["layer1"]).network
    path = tmp_path / "w.pth"
    torch.save({"model": whole.state_dict()}, path)
    options: Any = (["layer1"], None, {"num_classes": 0})
    headless = TimmModel(TINY, str(path), *options).network
    names = set(whole.state_dict()) - {"fc.weight", "fc.bias"}
    assert set(headless.state_dict()) == names
    for name in names:
        assert torch.equal(headless.state_dict()[name], whole.state_dict()[name]), name
    with pytest.raises(RosettaError, match=r"w.pth does not fit test_resnet.*size mismatch"):
        TimmModel(TINY, str(path), ["layer1"], None, {"num_classes": 3})
    part = {name: whole.state_dict()[name] for name in sorted(names)[1:]}
    torch.save(part, path)
    with pytest.raises(RosettaError, match=rf"does not fit.*Missing.*{sorted(names)[0]}"):
        TimmModel(TINY, str(path), *options)
