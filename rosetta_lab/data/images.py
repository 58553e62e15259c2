"""Image files: read, whatever their size and format, from folders or ImageNet's set; written.

for target in ImageFolder("my_photos", size=256):
    target.id, target.image  # "holidays/cat", (3, 256, 256) in [0, 1]
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.utils import save_image

from rosetta_lab.data.folders import SUFFIXES, find_images, make_ids, tell
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import path_of, replacing

log = logging.getLogger("rosetta_lab")
# Of the formats that Pillow knows, those that the names in SUFFIXES stand for. What is in a file
# tells its format, whatever its name; some others have Pillow start other programs (EPS).
FORMATS = sorted({form for end, form in Image.registered_extensions().items() if end in SUFFIXES})


@dataclass
class Target:
    """An image to invert and what is known about it.

    Attributes:
        id: unique and stable, may contain slashes.
        image: (3, R, R) in [0, 1].
        label: class index, None where unknown.
        truth: true numbers by name, where known.
    """

    id: str
    image: Tensor
    label: int | None = None
    truth: dict[str, float] = field(default_factory=dict)


class BrokenImage(RosettaError):
    """A file that is no image, is damaged or is refused; a run can count it and go on.

    Attributes:
        path: of the file.
        reason: what is wrong with it, in one line.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}.\nMend the file or leave it out.")
        self.path, self.reason = path, reason


def read_image(path: Path, size: int) -> Tensor:
    """Read an image file, crop its centre to a square and resize that with antialiasing.

    The orientation of EXIF is applied, transparent parts become white, grey becomes RGB, 16 bits
    are kept where Pillow keeps them (grey images); of an animation it is the first picture, which
    is said. Colour profiles are not applied.

    Args:
        path: in one of ``FORMATS``.
        size: R, in pixels.

    Returns:
        (3, R, R) in [0, 1].

    Raises:
        BrokenImage: the file cannot be read, or has so many pixels that it looks like an attack.
    """
    image = open_image(path, rgb_or_grey)
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    square = image.resize(
        (size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
    )
    values = torch.from_numpy(np.array(square, dtype=np.float32))  # (R, R) or (R, R, 3)
    if values.dim() == 2:
        values = values[..., None].expand(-1, -1, 3)
    return (values.permute(2, 0, 1) / 255.0).clamp(0.0, 1.0).contiguous()


def read_grey(path: Path) -> Tensor:
    """An image file as a mask (H, W) in [0, 1]; transparency is not looked at.

    Raises:
        BrokenImage: see :func:`read_image`.
    """
    image = open_image(path, lambda found: rgb_or_grey(drop_alpha(found)))
    values = np.array(image if image.mode == "F" else image.convert("L"), dtype=np.float32)
    return torch.from_numpy(values / 255.0).clamp(0.0, 1.0)


def open_image(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What an image file shows, the right way up, converted while it is open.

    Raises:
        BrokenImage: the file cannot be read, or has so many pixels that it looks like an attack.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for whoever writes to it
            raise FileNotFoundError("there is no such file")
        with warnings.catch_warnings():
            # Pillow warns from the size on at half of which it refuses; large photos are welcome.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as file:
                # Cameras put a small copy beside the picture (MPO), which nobody means.
                if getattr(file, "is_animated", False) and file.format != "MPO":
                    log.warning("%s: of its several pictures, the first is taken.", path)
                return convert(ImageOps.exif_transpose(file))
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise BrokenImage(path, f"more than {limit:.0f} million pixels, refused") from None
    except UnidentifiedImageError:
        raise BrokenImage(path, "not an image, or of an unknown format") from None
    except Exception as error:  # any kind, since the file may hold anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BrokenImage(path, f"unreadable ({reason})") from error


def drop_alpha(image: Image.Image) -> Image.Image:
    """The colours of an image, also where it is transparent."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    opaque = {"RGBA": "RGB", "RGBa": "RGB", "LA": "L", "La": "L", "PA": "RGB"}.get(image.mode)
    found = image if opaque is None else image.convert(opaque)
    found.info.pop("transparency", None)
    return found


def rgb_or_grey(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, or as floats where it is grey with 16 bits; [0, 255] both.

    Floats in a file are taken for [0, 1] unless one is larger, else for [0, 255].

    Raises:
        ValueError: pixels are no numbers, or out of these ranges.
    """
    if image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise ValueError("some of its pixels are no numbers")
        return _in_range(values * (255.0 if values.max() <= 1.0 else 1.0))
    if image.mode.startswith("I"):  # 16 bits, whatever the integer type that holds them
        return _in_range(np.asarray(image).astype(np.float32) / 257.0)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _in_range(values: NDArray[Any]) -> Image.Image:
    low, high = values.min(), values.max()
    if low < 0.0 or high > 255.0:
        raise ValueError("its pixels are out of the range of 16 bits, or of 0 to 1 or 255")
    return Image.fromarray(values)


def write_image(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W) in [0, 1] as PNG, whole or not at all."""
    levels = (image.float() * 255.0).round()  # halves to even; save_image takes them up
    with replacing(path) as temporary:
        save_image(levels / 255.0, temporary, "png")


class ImageFolder(Dataset[Target]):
    """One image file, or all of a folder and its subfolders, in the order of their names.

    Reading a broken file raises :class:`BrokenImage`; the others can still be read. An id is the
    file's path in the folder without its suffix; where files differ in nothing else, with it.

    Args:
        path: the file or folder.
        size: R of the images, in pixels.

    Attributes:
        files: paths, in order.
        ids: of the images, known without reading them.

    Raises:
        RosettaError: there is no such file or folder, or no image in it.
    """

    def __init__(self, path: str | os.PathLike[str], size: int) -> None:
        root, self.size = path_of(str(path)), size
        if root.is_file():
            self.files, folder = [root], root.parent
        else:
            passed = Counter[str]()
            self.files, folder = find_images(root, passed), root
            tell(root, passed)
        if not self.files:
            raise RosettaError(
                f"{root}: no image in this folder.\n"
                f"Expected files that end in {', '.join(sorted(SUFFIXES))}."
            )
        self.ids = make_ids([file.relative_to(folder) for file in self.files])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Target:
        return Target(self.ids[index], read_image(self.files[index], self.size))


class ImageNetVal(Dataset[Target]):
    """Some images of every class of ImageNet's validation set, first one of each class and so on.

    Args:
        root: folder with one folder per class, named by WordNet id (``n01440764``; label = place in
            the sorted order, so that none may be missing) or by class index (``0``; label = index).
        size: R of the images, in pixels.
        per_class: images of each class.
        start: how many of a class's images to pass over, for disjoint selections.
        seed: of the selection; it depends on nothing else but the files' names.
        num_classes: how many there are.

    Attributes:
        files, ids, labels: of the selected images.

    Raises:
        RosettaError: classes are missing, or a class has too few images.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int,
        per_class: int = 5,
        start: int = 0,
        seed: int = 0,
        num_classes: int = 1000,
    ) -> None:
        base, self.size = path_of(str(root)), size
        if not base.is_dir():
            raise RosettaError(f"{base}: there is no such folder of ImageNet images.")
        entries = (entry for entry in base.iterdir() if not entry.name.startswith("."))
        folders = sorted(entry for entry in entries if entry.is_dir())
        if folders and all(folder.name.isdecimal() for folder in folders):
            by_label = sorted((int(folder.name), folder) for folder in folders)
        else:
            by_label = list(enumerate(folders))
            if len(folders) != num_classes:
                raise RosettaError(
                    f"{base}: {len(folders)} folders, expected one for each of {num_classes} "
                    "classes.\nSort the validation images into folders named by WordNet id, or "
                    "name those you have by class index."
                )

        passed = Counter[str]()

        def order(file: Path) -> bytes:
            return hashlib.sha256(f"{seed}/".encode() + os.fsencode(file.name)).digest()

        def chosen(folder: Path) -> list[Path]:
            files = sorted(find_images(folder, passed), key=order)
            check_selection(folder.name, len(files), per_class, start)
            return files[start : start + per_class]

        rows = [(label, chosen(folder)) for label, folder in by_label]
        tell(base, passed)
        picked = [(label, files[place]) for place in range(per_class) for label, files in rows]
        self.labels = [label for label, _ in picked]
        self.files = [file for _, file in picked]
        self.ids = make_ids([file.relative_to(base) for file in self.files])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Target:
        image = read_image(self.files[index], self.size)
        return Target(self.ids[index], image, self.labels[index])


def check_selection(name: str, available: int, per_class: int, start: int) -> None:
    """Raise a RosettaError unless ``available`` images leave ``per_class`` from ``start`` on."""
    if per_class < 1 or start < 0 or start + per_class > available:
        raise RosettaError(
            f"per_class={per_class}, start={start}: class {name} has {available} images.\n"
            "Expected at least one per class, and no more than there are."
        )
