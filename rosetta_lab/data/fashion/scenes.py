"""``fashion_scenes``: real Fashion-MNIST garments, tinted and placed on a coloured background.

Fashion-MNIST's garments are all centred and grey. Here position, size and colour vary, and their
true values are known, so a generator trained on the scenes has something to shift, zoom and
recolour, and an edit can be measured. A scene is a pure function of (split, index, seed).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import cache_folder, path_of

Split = Literal["train", "test"]
CLASSES = (
    "t-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SCALE_RANGE = (0.45, 0.85)
_FILES = {"train": "train", "test": "t10k"}


@dataclass
class Scenes:
    """A batch of scenes with their true labels.

    Attributes:
        image: (N, 3, R, R) in [0, 1].
        label: class index (N,), see ``CLASSES``.
        hue: of the garment, degrees in [0, 360) (N,).
        centre: x and y of the garment's 28x28 box, fractions of the canvas (N, 2).
        scale: side of that box as a fraction of the canvas, in [0.45, 0.85] (N,).
    """

    image: Tensor
    label: Tensor
    hue: Tensor
    centre: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return len(self.label)


def uniform(seed: int, split: Split, index: NDArray[np.int64], field: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), a pure function of the arguments (splitmix64 as a counter RNG)."""
    with np.errstate(over="ignore"):
        x = index.astype(np.uint64) * np.uint64(64) + np.uint64(field)
        x += np.uint64((seed * 2 + (split == "test")) % 2**32) << np.uint64(32)
        for _ in range(2):
            x += np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) / 2.0**53)


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """HSV to RGB; hue in degrees, the others in [0, 1]; (N, ...) to (N, 3, ...)."""
    offsets = torch.tensor([5.0, 3.0, 1.0]).reshape(1, 3, *([1] * (hue.dim() - 1)))
    k = (offsets + hue[:, None] / 60.0) % 6.0
    ramp = torch.minimum(k, 4.0 - k).clamp(0.0, 1.0)
    return value[:, None] * (1.0 - saturation[:, None] * ramp)


def render(
    garments: Tensor,
    hue: Tensor,
    centre: Tensor,
    scale: Tensor,
    background: Tensor,
    gradient: Tensor,
    size: int = 64,
) -> Tensor:
    """Paint garments on coloured backgrounds.

    Args:
        garments: grey values (N, 28, 28) in [0, 1], 0 outside the garment.
        hue: tint in degrees (N,).
        centre: x, y of the garment's box as fractions of the canvas (N, 2).
        scale: side of the box as a fraction of the canvas (N,).
        background: colour (N, 3) in [0, 1].
        gradient: brightness added at the top and taken away at the bottom (N,).
        size: canvas in pixels.

    Returns:
        (N, 3, size, size) in [0, 1].
    """
    # Canvas coordinates in [-1, 1] go to the garment's: p = (x - (2c - 1)) / scale.
    theta = torch.zeros(len(garments), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1.0 / scale
    theta[:, :, 2] = -(2.0 * centre - 1.0) / scale[:, None]
    grid = F.affine_grid(theta, [len(garments), 1, size, size], align_corners=False)
    opacity = (garments * 12.0).clamp(max=1.0)  # garments have dark parts, only 0 is outside
    layers = torch.stack([opacity, opacity * garments], dim=1)  # (N, 2, 28, 28)
    layers = F.grid_sample(layers, grid, mode="bilinear", align_corners=False)
    alpha, shade = layers[:, 0], layers[:, 1] / layers[:, 0].clamp(min=1e-6)
    value = 0.25 + 0.75 * shade  # (N, R, R)
    colour = hsv_to_rgb(
        hue[:, None, None].expand_as(value), torch.full_like(value, 0.85), value
    )  # (N, 3, R, R)
    ramp = torch.linspace(1.0, -1.0, size)[None, None, :, None] * gradient[:, None, None, None]
    behind = (background[:, :, None, None] + ramp).clamp(0.0, 1.0)
    return torch.lerp(behind.expand_as(colour), colour, alpha[:, None])


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of bytes (plain or gzip), the format of MNIST and Fashion-MNIST."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        data = stream.read()
    if data[:3] != b"\x00\x00\x08":
        raise RosettaError(
            f"{path} is not an idx file of bytes (its first bytes are {data[:3]!r})."
        )
    shape = np.frombuffer(data, ">u4", data[3], offset=4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != int(shape.prod()):
        raise RosettaError(
            f"{path} is cut short: {values.size} bytes for shape {tuple(int(n) for n in shape)}."
        )
    return values.reshape(shape)


def find_fashion_mnist(root: str | os.PathLike[str] | None = None) -> Path:
    """Folder with Fashion-MNIST's idx files.

    Args:
        root: that folder, or a torchvision root (``root/FashionMNIST/raw``). None looks into the
            cache and where Debian's package ``dataset-fashion-mnist`` puts them, and downloads
            through torchvision if it is in neither place.

    Raises:
        RosettaError: nothing was found and nothing could be downloaded.
    """
    cache = cache_folder()
    roots = (
        [path_of(root)] if root is not None else [cache, Path("/usr/share/datasets/fashion-mnist")]
    )
    for folder in (f for r in roots for f in (r, r / "FashionMNIST" / "raw")):
        if list(folder.glob("t10k-images*")):
            return folder
    if root is not None:
        raise RosettaError(
            f"data.root={root} holds no Fashion-MNIST (train-images-idx3-ubyte and so on).\n"
            "Name a folder with the four idx files, plain or .gz."
        )
    from torchvision.datasets import FashionMNIST  # heavy, and only a download needs it

    try:
        FashionMNIST(str(cache), download=True)
    except Exception as error:
        raise RosettaError(
            f"Fashion-MNIST is not in {cache} and could not be downloaded ({error}).\n"
            "Install Debian's dataset-fashion-mnist, or name a folder with its four idx files: "
            "data.root=FOLDER."
        ) from None
    return cache / "FashionMNIST" / "raw"


class FashionScenes(Dataset[Scenes]):
    """The scenes of one split; item i shows garment i of Fashion-MNIST.

    Args:
        split: ``train`` (60,000 garments) or ``test`` (10,000).
        seed: another seed places and colours the same garments anew.
        size: canvas in pixels.
        root: see :func:`find_fashion_mnist`.
    """

    def __init__(
        self,
        split: Split = "train",
        seed: int = 0,
        size: int = 64,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.split: Split = split
        self.seed, self.size = seed, size
        folder = find_fashion_mnist(root)
        files = [next(folder.glob(f"{_FILES[split]}-{kind}*")) for kind in ("images", "labels")]
        self.garments = torch.from_numpy(read_idx(files[0]).copy())  # (n, 28, 28) uint8
        self.labels = torch.from_numpy(read_idx(files[1]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def scenes(
        self, indices: Sequence[int], seed: int | None = None, spread: float = 1.0
    ) -> Scenes:
        """The scenes with these indices as one batch.

        Args:
            indices: of the garments.
            seed: overrides the data set's.
            spread: below 1, place, size and colours vary only in this share of their range around
                those of the batch's first scene (of the data set's seed); for curricula.
        """
        index = np.asarray(indices, dtype=np.int64)

        def draw(field: int) -> Tensor:
            numbers = uniform(self.seed if seed is None else seed, self.split, index, field)
            if spread < 1.0:
                common = uniform(self.seed, self.split, index[:1], field)
                numbers = common + spread * (numbers - common)
            return torch.from_numpy(numbers).float()

        low, high = SCALE_RANGE
        scale = low + (high - low) * draw(0)
        centre = torch.stack([scale / 2 + (1 - scale) * draw(field) for field in (1, 2)], dim=1)
        hue = draw(3) * 360.0
        background = hsv_to_rgb(draw(4) * 360.0, 0.1 + 0.3 * draw(5), 0.45 + 0.5 * draw(6))
        gradient = 0.16 * draw(7) - 0.08
        picked = torch.as_tensor(index)
        garments = self.garments[picked].float() / 255.0
        image = render(garments, hue, centre, scale, background, gradient, self.size)
        return Scenes(image, self.labels[picked], hue, centre, scale)

    def __getitem__(self, index: int) -> Scenes:
        """Scene ``index`` as a batch of one."""
        return self.scenes([index])

    def __getitems__(self, indices: list[int]) -> Scenes:
        """A whole batch at once, which is many times faster; use ``collate_fn=lambda x: x``."""
        return self.scenes(indices)
