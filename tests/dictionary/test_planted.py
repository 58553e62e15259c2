"""A known blob, painted by a generator shaped as StyleGAN-XL, is found by a ViT at its place.

The generator's maps extend beyond the image, and are bright there; the ViT has a class token and
registers before its patches, and is most active on them. Only where both are left out do the maps
line up.
"""

from __future__ import annotations

import pytest
import torch
from mined_toys import trainer
from torch import Tensor, nn

from rosetta_lab.data.latents import LatentDataModule, Latents
from rosetta_lab.mine.module import MiningModule
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.generators.geometry import Progression, Signal, SuperresStage
from rosetta_lab.models.generators.stylegan3 import AliasFreeGenerator
from rosetta_lab.models.observer import GeneratedImages, Observer
from rosetta_lab.models.units import Unit, UnitIndex

IMAGES = 24
SIZE, PATCH = 96, 8  # of the ViT's input, in pixels; the generator's images have 64
PLANTED = Unit("blocks.0.mlp.act", 0)
BLOB, DECOY = 0, 1  # channels of every layer of the generator


def blob(centres: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Gaussian blobs at centres (N, 2) in image widths, on a grid: (N, H, W)."""
    distance = (y[None, :, None] - centres[:, 0, None, None]) ** 2
    distance = distance + (x[None, None, :] - centres[:, 1, None, None]) ** 2
    return (-distance / (2 * 0.1**2)).exp()


class Paint(nn.Module):
    """One layer: the blob, a decoy elsewhere, and a bright frame around the image."""

    def __init__(self, target: Signal) -> None:
        super().__init__()
        self.target = target

    def forward(self, centres: Tensor) -> Tensor:
        size, rate = self.target.size, self.target.rate
        grid = (torch.arange(size) + 0.5 - size / 2) / rate + 0.5  # the image is 0 to 1
        maps = [blob(centres[:, i], grid, grid) for i in (BLOB, DECOY, BLOB)]
        outside = (grid < 0) | (grid > 1)
        return torch.stack(maps, 1) + 5.0 * (outside[:, None] | outside)


class Painting(nn.Module):
    """All layers; the last paints the blob alone, in white on grey."""

    def __init__(self, layers) -> None:
        super().__init__()
        self.names = [layer.name for layer in layers]
        for layer in layers:
            self.add_module(layer.name, Paint(layer.target))

    def forward(self, centres: Tensor) -> Tensor:
        for name in self.names:
            maps = self.get_submodule(name)(centres)
        return 0.2 + 0.8 * maps[:, [BLOB] * 3]


class Place(nn.Module):
    """z (N, 4) to the centres (N, 2, 2) of blob and decoy."""

    def forward(self, z: Tensor, c: Tensor | None, psi: float, cutoff: int | None) -> Tensor:
        return 0.2 + 0.6 * z.sigmoid().unflatten(1, (2, 2))


class BlobGenerator(AliasFreeGenerator):
    """A stem of 16 px and stages of 32 and 64 px."""

    def __init__(self) -> None:
        stem = Progression(16, channel_base=2**16, channel_max=3, num_layers=10)
        layers = stem.extended([SuperresStage(32, 5), SuperresStage(64, 5)])
        super().__init__(4, 0, layers, Place(), Painting(layers), (0.0, 1.0))


def blob_seeing_vit() -> TimmModel:
    """One unit of the first block is as active as its patch is bright; the others see edges."""
    torch.manual_seed(0)
    model = TimmModel(
        "vit_tiny_patch16_224",
        "random",
        ["blocks.*.mlp.act"],
        {"size": SIZE},
        {
            "img_size": SIZE,
            "patch_size": PATCH,
            "embed_dim": 24,
            "depth": 2,
            "num_heads": 2,
            "num_classes": 0,
            "reg_tokens": 3,
        },
    )
    network = model.network
    with torch.no_grad():
        filters = network.patch_embed.proj.weight
        filters -= filters.mean(dim=(1, 2, 3), keepdim=True)
        filters[0] = 1.0 / (3 * PATCH**2)
        network.patch_embed.proj.bias[:2] = torch.tensor([0.0, 1.0])
        network.pos_embed.zero_()
        network.cls_token[..., 0] = 50.0
        network.reg_token[..., 0] = 50.0
        for block in network.blocks:
            block.attn.proj.weight.zero_()
            block.mlp.fc2.weight.zero_()
            block.mlp.fc1.weight[:, :2] = 0.0
        first = network.blocks[0].mlp.fc1
        first.weight[0] = 0.0
        first.weight[0, 0] = 2.0
        first.bias[0] = 0.0
    return model


def peaks(maps: Tensor) -> Tensor:
    """Centres of the upper halves of maps (N, H, W), in image widths: (N, 2) as y, x."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    weight = (maps - (low + high) / 2).relu()
    weight = weight / weight.sum(dim=(1, 2), keepdim=True)
    y, x = ((torch.arange(n) + 0.5) / n for n in maps.shape[1:])
    return torch.stack([(weight.sum(2) * y).sum(1), (weight.sum(1) * x).sum(1)], 1)


@pytest.fixture(scope="module")
def observer() -> Observer:
    generator = BlobGenerator()
    assert sum(name.startswith("L") for name in generator.synthesis.names) >= 14
    source = GeneratedImages(generator, ["synthesis.L*"], "painter")
    return Observer(source, {"vit": blob_seeing_vit()})


@pytest.fixture(scope="module")
def mined(observer: Observer) -> tuple[Tensor, dict[str, UnitIndex]]:
    latents = Latents(IMAGES, 0, 4)
    pilot = latents.batch([0, 1])
    bands: list[Tensor] = []
    shapes = shapes_of(observer, pilot)
    module = MiningModule(
        observer,
        shapes,
        pilot,
        IMAGES,
        on_table=lambda name, rows: bands.append(rows) if name == "vit" else None,
    )
    trainer().validate(module, LatentDataModule(latents, 8, module.grouping), verbose=False)
    return torch.cat(bands), {name: groups.index for name, groups in module.groups.items()}


def test_the_planted_units_match(
    observer: Observer, mined: tuple[Tensor, dict[str, UnitIndex]]
) -> None:
    table, index = mined
    planted = index["vit"].number(PLANTED)
    assert index["painter"][int(table[:, planted].argmax())].channel in (BLOB, 2)
    for layer in observer.layers["painter"]:
        row = index["painter"].number(Unit(layer, BLOB))
        assert index["vit"][int(table[row].argmax())] == PLANTED, layer
        assert table[row, planted] > 0.8, layer
    decoy = index["painter"].number(Unit(observer.layers["painter"][0], DECOY))
    assert table[decoy, planted] < 0.3


def test_heatmaps_line_up(observer: Observer) -> None:
    """Every layer's map and the ViT's show the blob where it is, to within half a cell."""
    batch = Latents(IMAGES, 1, 4).batch(list(range(IMAGES)))
    truth = observer.source.generator.map(batch.z)[:, BLOB]  # (N, 2)
    seen = observer(batch).maps
    vit = seen["vit"][PLANTED.layer][:, PLANTED.channel]
    assert vit.shape[1:] == (SIZE // PATCH, SIZE // PATCH)
    half_a_cell = 0.5 * PATCH / SIZE
    assert (peaks(vit) - truth).abs().max() < half_a_cell
    for layer, maps in seen["painter"].items():
        assert (peaks(maps[:, BLOB]) - truth).abs().max() < 0.5 / maps.shape[2], layer
        assert (peaks(maps[:, BLOB]) - peaks(vit)).abs().max() < half_a_cell, layer
