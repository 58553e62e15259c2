"""What the axes of layers mean, in networks of many kinds, against what is planted in images.

No layout is written down here: where a patch of the image changes, the maps change most.
"""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from cases import first
from torch import Tensor, nn
from torchvision.models import ConvNeXt, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.discriminative.open_clip import OpenClipModel
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.layouts import Untold, grids, tell, tokens_inside
from rosetta_lab.models.preprocess import Preprocess

SMALL_VIT = {"img_size": (64, 128), "embed_dim": 24, "depth": 2, "num_heads": 2}
SWIN = {"img_size": (64, 128), "window_size": 4, "embed_dim": 12, "depths": (2, 2)}
SWIN |= {"num_heads": (2, 2)}
MAXVIT = {"img_size": (64, 128)}
CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)}
TEXT = {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": (64, 128), "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}


def timm_model(architecture: str, size: tuple[int, int] = (64, 128), **options: Any) -> TimmModel:
    torch.manual_seed(0)
    return TimmModel(architecture, "random", (), {"size": list(size)}, options)


def bare(network: nn.Module, size: tuple[int, int] = (64, 128), **more: Any) -> DiscriminativeModel:
    return DiscriminativeModel(network, Preprocess(size), (), **more)


@torch.no_grad()
def seen(model: DiscriminativeModel, layer: str) -> tuple[int, ...]:
    """Shape of a layer's maps, after seeing that they change where the image does."""
    height, width = model.preprocess.size
    torch.manual_seed(1)
    images = torch.rand(1, 3, height, width)
    places = [(0, 3), (1, 0), (1, 2)]  # of 2 x 4 cells: no two layouts agree on all of them
    changed = images.repeat(3, 1, 1, 1)
    for image, (row, column) in zip(changed, places, strict=True):
        rows = slice(row * height // 2, (row + 1) * height // 2)
        columns = slice(column * width // 4, (column + 1) * width // 4)
        image[:, rows, columns] = torch.rand_like(image[:, rows, columns])
    maps = model.maps(torch.cat([images, changed]), [layer])[layer]
    difference = (maps[1:] - maps[:1]).square().sum(dim=1)  # (3, H, W)
    for found, (row, column) in zip(difference, places, strict=True):
        at = divmod(int(found.argmax()), found.shape[1])
        cell = (2 * at[0] // found.shape[0], 4 * at[1] // found.shape[1])
        assert cell == (row, column), f"{layer}: the change in cell {row, column} is seen in {cell}"
    return tuple(maps.shape[1:])


@pytest.mark.parametrize(
    ("architecture", "options", "layer", "shape"),
    first(
        8,
        [
            ("resnet18", {}, "layer2.0", (128, 8, 16)),
            ("convnext_atto", CONVNEXT, "stages.1.blocks.0.mlp.act", (48, 8, 16)),
            (
                "convnext_atto",
                CONVNEXT | {"conv_mlp": True},
                "stages.1.blocks.0.mlp.act",
                (48, 8, 16),
            ),
            (
                "convnext_atto",
                CONVNEXT | {"conv_mlp": False},
                "stages.1.blocks.0.mlp.act",
                (48, 8, 16),
            ),
            ("mambaout_femto", {}, "stages.1.blocks.0", (96, 8, 16)),
            ("swin_tiny_patch4_window7_224", SWIN, "layers.0.blocks.1", (12, 16, 32)),
            ("swin_tiny_patch4_window7_224", SWIN, "layers.1.blocks.0.mlp.act", (96, 8, 16)),
            ("swin_tiny_patch4_window7_224", SWIN, "patch_embed", (12, 16, 32)),
            ("swinv2_tiny_window8_256", SWIN, "layers.1.blocks.1", (24, 8, 16)),
            (
                "maxvit_rmlp_pico_rw_256",
                MAXVIT,
                "stages.0.blocks.0.attn_block.mlp.act",
                (128, 16, 32),
            ),
            ("maxvit_rmlp_pico_rw_256", MAXVIT, "stages.1.blocks.0", (64, 8, 16)),
            ("pvt_v2_b0", {}, "stages.0.blocks.1.mlp.act", (256, 16, 32)),
            ("pvt_v2_b0", {}, "stages.1", (64, 8, 16)),
            ("levit_128s", {"img_size": (64, 128)}, "stages.0.blocks.0.attn.qkv", (256, 4, 8)),
            ("mixer_s32_224", {"img_size": (64, 128)}, "blocks.1.mlp_channels.act", (2048, 2, 4)),
            ("mixer_s32_224", {"img_size": (64, 128)}, "blocks.1.mlp_tokens:input", (512, 2, 4)),
            ("vit_tiny_patch16_224", SMALL_VIT, "blocks.1.mlp.act", (96, 4, 8)),
            ("vit_tiny_patch16_224", SMALL_VIT | {"reg_tokens": 5}, "blocks.1", (24, 4, 8)),
            ("vit_tiny_patch16_224", SMALL_VIT | {"patch_size": (16, 8)}, "blocks.1", (24, 4, 16)),
            ("vit_tiny_patch16_224", SMALL_VIT | {"patch_size": 13}, "blocks.1", (24, 4, 9)),
            ("deit_tiny_distilled_patch16_224", SMALL_VIT, "blocks.1", (24, 4, 8)),
            ("vit_medium_patch16_reg4_gap_256", SMALL_VIT, "blocks.0", (24, 4, 8)),
            ("cait_xxs24_224", SMALL_VIT, "blocks.1.mlp.act", (96, 4, 8)),
            ("xcit_nano_12_p16_224", SMALL_VIT, "blocks.1.mlp.act", (96, 4, 8)),
            ("coat_lite_tiny", {"img_size": (64, 128)}, "serial_blocks2.1", (128, 8, 16)),
        ],
    ),
)
def test_units_and_places_of_timm_s_networks(
    architecture: str, options: dict[str, Any], layer: str, shape: tuple[int, ...]
) -> None:
    assert seen(timm_model(architecture, **options), layer) == shape


@pytest.mark.parametrize(
    ("architecture", "options", "layer", "reason"),
    first(
        4,
        [
            (
                "swin_tiny_patch4_window7_224",
                SWIN,
                "layers.0.blocks.0.attn.qkv",
                "windows or heads",
            ),
            ("swinv2_tiny_window8_256", SWIN, "layers.0.blocks.0.attn.proj", "windows or heads"),
            (
                "maxvit_rmlp_pico_rw_256",
                MAXVIT,
                "stages.0.blocks.0.attn_block.attn",
                "windows or heads",
            ),
            (
                "mvitv2_tiny",
                {"img_size": (64, 64)},
                "stages.1.blocks.0.attn.pool_q",
                "windows or heads",
            ),
            (
                "vit_tiny_patch16_224",
                SMALL_VIT | {"qk_norm": True},
                "blocks.0.attn.q_norm",
                "1 of its",
            ),
            ("vit_tiny_patch16_224", SMALL_VIT, "blocks.0.attn.attn_drop", "2 of its"),
            ("vit_tiny_patch16_224", SMALL_VIT, "head", "0 of its"),
            ("cait_xxs24_224", SMALL_VIT, "blocks_token_only.0.mlp", "0 of its"),
            ("mixer_s32_224", {"img_size": (64, 128)}, "blocks.0.mlp_tokens.act", "0 of its"),
            ("mobilenetv3_small_050", {}, "blocks.0.0.se.conv_reduce", "0 of its"),
            ("hiera_tiny_224", {"img_size": (64, 128)}, "blocks.0", "row by row"),
            ("hiera_tiny_224", {"img_size": (64, 128)}, "blocks.3.mlp.act", "row by row"),
            ("nextvit_small", {}, "stages.1.blocks.3.e_mhsa.k", "row by row"),
        ],
    ),
)
def test_what_are_no_maps_is_refused_by_name(
    architecture: str, options: dict[str, Any], layer: str, reason: str
) -> None:
    size = options.get("img_size", (64, 128))
    model = timm_model(architecture, size, **options)
    for part in model.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False
    with pytest.raises(RosettaError, match=rf"^Layer {layer} puts out \(.*{reason}.*\n.*layers"):
        model.maps(torch.rand(2, 3, *size), [layer])


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"class_token": False}])
def test_patches_that_do_not_divide_the_image(options: dict[str, Any]) -> None:
    options |= SMALL_VIT | {"dynamic_img_size": True, "dynamic_img_pad": True, "global_pool": "avg"}
    assert seen(timm_model("vit_tiny_patch16_224", (60, 124), **options), "blocks.1") == (24, 4, 8)


def test_memory_format_is_no_layout() -> None:
    model = timm_model("convnext_atto", **CONVNEXT)
    images = torch.rand(2, 3, 64, 128)
    layers = ["stages.0.blocks.0", "stages.1.blocks.0.mlp.act"]
    expected = model.maps(images, layers)
    other = timm_model("convnext_atto", **CONVNEXT).to(memory_format=torch.channels_last)
    other.load_state_dict(model.state_dict())
    found = other.maps(images.to(memory_format=torch.channels_last), layers)
    for layer in layers:
        torch.testing.assert_close(found[layer], expected[layer], atol=1e-5, rtol=1e-5)


def test_torchvision_s_networks() -> None:
    swin = SwinTransformer([4, 4], 12, [2, 2], [2, 2], [4, 4])
    assert seen(bare(swin), "features.1.1") == (12, 16, 32)
    assert seen(bare(swin), "features.3.1.mlp.1") == (96, 8, 16)
    convnext = ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)])
    assert seen(bare(convnext), "features.1.0.block.4") == (32, 16, 32)  # GELU, channels last
    assert seen(bare(convnext), "features.3.0") == (12, 8, 16)


def test_a_network_of_one_size_is_declared_or_refused() -> None:
    vit = VisionTransformer(64, 16, 1, 2, 24, 48)
    layer, images = "encoder.layers.encoder_layer_0", torch.rand(2, 3, 64, 64)
    with pytest.raises(RosettaError, match=rf"{layer} puts out \(2, 17, 24\).*one size only.*\n"):
        bare(vit, (64, 64)).maps(images, [layer])
    assert seen(bare(vit, (64, 64), declared={"encoder.**": "NTC"}), layer) == (24, 4, 4)
    with pytest.raises(RosettaError, match=r"conv_proj puts out \(2, 24, 4, 4\).*not NTC"):
        bare(vit, (64, 64), declared={"*": "NTC"}).maps(images, ["conv_proj"])
    with pytest.raises(RosettaError, match=r"declared\.\*=CHW: .*\n.*NCHW, NHWC, NTC"):
        bare(vit, (64, 64), declared={"*": "CHW"})


def test_open_clip_s_transformers() -> None:
    for more in ({}, {"pool_type": "avg"}):
        options = {"embed_dim": 8, "vision_cfg": VISION | more, "text_cfg": TEXT}
        model = OpenClipModel("ViT-B-32", "random", (), {"size": [64, 128]}, options)
        assert seen(model, "visual.transformer.resblocks.1") == (32, 4, 8)
        assert seen(model, "visual.transformer.resblocks.0.mlp.gelu") == (128, 4, 8)


def test_a_network_that_timm_made_without_its_adapter() -> None:
    for options in ({}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}):
        vit = timm.create_model("vit_tiny_patch16_224", **SMALL_VIT | options)
        assert seen(bare(vit), "blocks.1.norm1") == (24, 4, 8)


class Looks(nn.Module):
    """Looks at its numbers, which the ``meta`` device does not have; channels are last."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        if bool(images.mean() > 1e6):
            return images
        return self.last(self.first(images).movedim(1, -1)).mean(dim=(1, 2))


def test_a_network_that_looks_at_its_numbers() -> None:
    model = bare(Looks())
    assert seen(model, "first") == (4, 32, 64) and seen(model, "last") == (5, 32, 64)
    assert all(not value.is_meta for value in model.parameters())


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("vit_tiny_patch16_224", SMALL_VIT),
        ("swin_tiny_patch4_window7_224", SWIN),
        ("mixer_s32_224", {"img_size": (64, 128)}),
        ("vit_tiny_patch16_224", SMALL_VIT | {"img_size": (100, 90), "patch_size": 300}),
    ],
)
def test_a_size_that_a_network_refuses(architecture: str, options: dict[str, Any]) -> None:
    model = timm_model(architecture, (100, 90), **options)
    with pytest.raises(RosettaError, match=r"fails on images of 100 x 90 pixels: .*\n.*size"):
        model.maps(torch.rand(1, 3, 64, 64), ["head"])


@pytest.mark.parametrize("options", [{"patch_size": 0}, {"depth": "two"}, {"widht": 3}])
def test_options_of_which_timm_makes_no_network(options: dict[str, Any]) -> None:
    with pytest.raises(RosettaError, match=r"no vit_tiny_patch16_224 of .*: .*\n.*model_kwargs"):
        timm_model("vit_tiny_patch16_224", **options)


def test_looking_leaves_the_network_as_it_was() -> None:
    model = timm_model("swin_tiny_patch4_window7_224", **SWIN)
    images, before = torch.rand(1, 3, 64, 128), dict(model.state_dict())
    expected = model(images)
    model.maps(images, ["layers.0.blocks.0"])
    assert torch.equal(model(images), expected)
    assert all(model.state_dict()[name] is not None for name in before)
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_tokens_are_counted_whatever_the_rows_and_columns() -> None:
    for others, rows, columns, more_rows, more_columns in (
        (0, 4, 4, 7, 7),  # a stride of 64 in 224 and 448 pixels
        (5, 14, 14, 28, 28),
        (1, 3, 5, 6, 11),
    ):
        counts = [others + r * c for c in (columns, more_columns) for r in (rows, more_rows)]
        assert tokens_inside(*counts) == rows * columns
    with pytest.raises(Untold):
        tokens_inside(10, 12, 13, 14)


def test_grids_of_square_patches() -> None:
    for height in range(32, 200, 13):
        for width in range(32, 200, 17):
            for patch in (7, 8, 16):
                for rows, columns in (
                    (height // patch, width // patch),
                    (-(-height // patch), -(-width // patch)),
                ):
                    assert (rows, columns) in grids(rows * columns, (height, width))
    assert grids(196, (224, 224)) == [(14, 14)] and grids(12, (48, 64)) == [(3, 4)]
    assert grids(197, (224, 224)) == []


def test_a_first_axis_that_is_not_that_of_the_images() -> None:
    heads = [(6, 8, 4, 4), (3, 8, 4, 4), (6, 8, 8, 4), (6, 8, 4, 8), (6, 8, 8, 8)]
    with pytest.raises(Untold, match="windows or heads"):
        tell(heads, (32, 32), 0)
