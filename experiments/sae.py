"""Codes of a layer of dino_vit_fashion: ``python experiments/sae.py outputs/sae``.

A sparse autoencoder (TopK, Gao et al., 2024) of the package ``overcomplete`` (pip install
'rosetta-lab[sae]') learns to take the output of ``blocks.3`` apart, at every place of 2,000
training scenes. Its encoder, whose batch normalisation becomes part of W and b, is written as
``dino_vit_fashion_sae.safetensors``, and beside it the model of these codes as a configuration:

    python -m rosetta_lab.mine --config-dir=outputs/sae disc=[resnet_fashion,dino_vit_fashion_sae]

It takes less than a minute.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

matplotlib.cm.get_cmap = matplotlib.colormaps.__getitem__  # overcomplete 0.3 calls it; 3.9 has none
from overcomplete.sae import TopKSAE, train_sae  # noqa: E402

from rosetta_lab.data.fashion.scenes import FashionScenes  # noqa: E402
from rosetta_lab.files import asset_root  # noqa: E402
from rosetta_lab.models.load import load_models  # noqa: E402

IMAGES, UNITS, TOP_K, EPOCHS, LAYER = 2000, 384, 16, 8, "blocks.3"
NAME = "dino_vit_fashion_sae"
CONFIG = f"""\
# @package disc.{NAME}
defaults:
  - /disc/dino_vit_fashion@model
_target_: rosetta_lab.models.discriminative.codes.CodedModel
layer: {LAYER}
weights: WEIGHTS
top_k: {TOP_K}
units: {UNITS}
"""


def activations() -> Tensor:
    """What the layer puts out at every place (images * places, C)."""
    entry = OmegaConf.load(asset_root() / "conf/disc/dino_vit_fashion.yaml")
    model = load_models({"dino_vit_fashion": entry})["dino_vit_fashion"]
    scenes, found = FashionScenes("train"), []
    with torch.no_grad():
        for start in range(0, IMAGES, 100):
            images = scenes.scenes(range(start, start + 100)).image
            maps = model.maps(images, [LAYER])[LAYER]
            found.append(maps.movedim(1, -1).flatten(0, 2))
    return torch.cat(found)


def squared(x: Tensor, x_hat: Tensor, *rest: Tensor) -> Tensor:
    """The loss: what the codes do not explain."""
    return (x - x_hat).square().mean()


def affine(encoder: torch.nn.Module, width: int) -> tuple[Tensor, Tensor]:
    """W and b of what comes before the encoder's ReLU, seen from what it makes of unit vectors."""
    with torch.no_grad():
        bias = encoder(torch.zeros(1, width))[0][0]
        weight = (encoder(torch.eye(width))[0] - bias).t()
        x = torch.randn(16, width)
        assert torch.allclose(encoder(x)[0], x @ weight.t() + bias, atol=1e-3)
    return weight.contiguous(), bias


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    started, values = time.process_time(), activations()
    mean, scale = values.mean(dim=0), values.std()
    values = (values - mean) / scale
    sae = TopKSAE(values.shape[1], nb_concepts=UNITS, top_k=TOP_K)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(values), batch_size=1024, shuffle=True, drop_last=True)
    train_sae(sae, loader, squared, optimizer, nb_epochs=EPOCHS, device="cpu")
    sae.eval()
    with torch.no_grad():
        _, codes, again = sae(values[:20_000])
        error = (values[:20_000] - again).square().sum() / values[:20_000].square().sum()
    weight, bias = affine(sae.encoder, values.shape[1])
    weight = weight / scale
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": weight, "bias": bias - weight @ mean}
    save_file(tensors, folder / f"{NAME}.safetensors")
    (folder / "disc").mkdir(exist_ok=True)
    path = str((folder / f"{NAME}.safetensors").resolve())
    (folder / "disc" / f"{NAME}.yaml").write_text(CONFIG.replace("WEIGHTS", repr(path)))
    alive = (codes > 0).any(dim=0).sum()
    print(
        f"{len(values)} places; {1 - error:.1%} of the variance explained, {alive} of {UNITS} "
        f"codes alive, {time.process_time() - started:.0f} s of CPU time"
    )
