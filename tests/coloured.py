"""A picture of three colours, and where they are in an image."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (30, 30, 230)


def quadrants(size: int = 32) -> Image.Image:
    """Red at the top left, green at the top right, blue at the bottom."""
    image = Image.new("RGB", (size, size), BLUE)
    image.paste(RED, (0, 0, size // 2, size // 2))
    image.paste(GREEN, (size // 2, 0, size, size // 2))
    return image


def corners(image: Tensor) -> list[tuple[int, ...]]:
    """Colours near the top left, top right, bottom left and bottom right."""
    far = image.shape[-1] - 3
    places = [(2, 2), (2, far), (far, 2), (far, far)]
    return [tuple(int(v) for v in (image[:, y, x] * 255).round()) for y, x in places]
