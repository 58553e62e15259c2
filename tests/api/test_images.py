"""Images as users have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rosetta_lab.api.images import as_images, gallery
from rosetta_lab.errors import RosettaError


def test_all_kinds_are_the_same_picture(tmp_path: Path) -> None:
    bytes_ = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(bytes_)
    picture.save(tmp_path / "one.png")
    expected = torch.from_numpy(bytes_).permute(2, 0, 1)[None].float() / 255.0
    kinds = [picture, bytes_, expected, expected[0], torch.from_numpy(bytes_).permute(2, 0, 1)]
    for given in [*kinds, [picture], [expected[0], bytes_][:1]]:
        torch.testing.assert_close(as_images(given), expected, atol=1e-6, rtol=0)
    for named in (tmp_path, str(tmp_path / "one.png"), [tmp_path / "one.png"]):
        torch.testing.assert_close(as_images(named, 12), expected, atol=1e-6, rtol=0)
    assert as_images([picture, bytes_, expected]).shape == (3, 3, 12, 12)


def test_grey_and_sizes() -> None:
    grey = np.full((8, 20), 51, dtype=np.uint8)
    assert as_images(grey).shape == (1, 3, 8, 20)
    small = as_images([grey, torch.full((1, 9, 9), 0.2)], size=4)
    torch.testing.assert_close(small, torch.full((2, 3, 4, 4), 0.2), atol=1e-3, rtol=0)
    left = torch.zeros(1, 3, 4, 8)
    left[..., :2] = 1.0  # what the centre square does not hold
    assert as_images(left, size=4).max() == 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.randn(2, 3, 8, 8) * 3, "expected [0, 1]"),
        (torch.zeros(2, 5, 8, 8), "expected (N, 3, H, W)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.long), "torch.int64: expected"),
        ([], "list: expected tensors"),
        (7, "int: expected tensors"),
        ([torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)], "of several sizes, (8, 8), (9, 9)"),
        ("no/such/folder", "no/such/folder"),
        (torch.full((1, 3, 4, 4), torch.nan), "expected [0, 1]"),
    ],
)
def test_what_is_no_image_is_refused(given: object, message: str) -> None:
    with pytest.raises(RosettaError) as told:
        as_images(given)
    assert message in str(told.value) and len(str(told.value).splitlines()) <= 2


def test_a_figure_is_a_picture_in_a_notebook() -> None:
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    shown, _ = formatter.format(gallery({"image": torch.rand(1, 3, 8, 8)}))
    assert shown["image/png"].startswith(b"\x89PNG")
