"""Reading images of every kind, and the data sets of images to invert."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from coloured import BLUE, GREEN, RED, corners, quadrants
from PIL import EpsImagePlugin, Image

from rosetta_lab.data.images import (
    BrokenImage,
    ImageFolder,
    read_image,
    write_image,
)
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.page.differences import write_difference


def assert_near(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], by: int) -> None:
    assert np.abs(np.array(found) - np.array(expected)).max() <= by, found


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("a.png", 0), ("a.bmp", 0), ("a.tiff", 0), ("a.gif", 0), ("a.jpg", 12), ("a.WebP", 40)],
)
@pytest.mark.parametrize("size", [16, 32, 50])
def test_formats(tmp_path: Path, name: str, tolerance: int, size: int) -> None:
    quadrants().save(tmp_path / name)
    image = read_image(tmp_path / name, size)
    assert image.shape == (3, size, size) and image.dtype == torch.float32
    assert_near(corners(image), [RED, GREEN, BLUE, BLUE], tolerance + 2 * (size != 32))


def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0
    assert torch.equal(read_image(tmp_path / "a.png", 24), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_written_to_the_nearest_value(tmp_path: Path, dtype: torch.dtype) -> None:
    """What lies outside [0, 1] is clipped; nothing is left beside the file."""
    random = torch.Generator().manual_seed(0)
    image = (torch.rand(3, 20, 30, generator=random) * 1.4 - 0.2).to(dtype)
    image[0, 0] = (torch.arange(30) + 0.5) / 255.0
    write_image(image, tmp_path / "folder" / "a.png")
    with Image.open(tmp_path / "folder" / "a.png") as file:
        assert file.format == "PNG"
        found = np.asarray(file)
    values = image.double().permute(1, 2, 0).numpy() * 255.0
    assert found.shape == (20, 30, 3)
    assert np.abs(found - np.clip(values, 0.0, 255.0)).max() <= 0.5 + 1e-4
    if dtype is torch.float32:  # halves go to the even neighbour, as elsewhere
        assert found[0, :, 0].tolist() == [round(place + 0.5) for place in range(30)]
    assert os.listdir(tmp_path / "folder") == ["a.png"]


def test_an_image_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Image.Image, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    write_image(torch.ones(3, 8, 8), tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        write_image(torch.zeros(3, 8, 8), tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]
    assert read_image(tmp_path / "a.png", 8).min() == 1.0


@pytest.mark.parametrize("shape", [(96, 32), (32, 96)])
def test_the_centre_is_cropped(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = Image.new("RGB", shape, "white")
    image.paste(quadrants(), ((shape[0] - 32) // 2, (shape[1] - 32) // 2))
    image.save(tmp_path / "a.png")
    assert corners(read_image(tmp_path / "a.png", 32)) == [RED, GREEN, BLUE, BLUE]


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[:, ::2] = 255  # stripes too fine for the small image
    Image.fromarray(pixels).save(tmp_path / "a.png")
    inside = read_image(tmp_path / "a.png", 32)[:, 4:-4, 4:-4]
    assert (inside - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_orientation_of_exif_is_applied(tmp_path: Path, suffix: str) -> None:
    stored = quadrants().transpose(Image.Transpose.ROTATE_90)  # a camera held upright
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    image = read_image(tmp_path / f"a.{suffix}", 32)
    assert_near(corners(image), [RED, GREEN, BLUE, BLUE], 40)


@pytest.mark.parametrize("mode", ["L", "1", "I;16", "I"])
def test_grey(tmp_path: Path, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 1, 32), (32, 1))
    if mode == "I;16":
        image = Image.fromarray((ramp * 65535).round().astype(np.uint16))
    elif mode == "I":
        image = Image.fromarray((ramp * 65535).round().astype(np.int32))
    else:
        image = Image.fromarray((ramp * 255).round().astype(np.uint8)).convert(mode)
    image.save(tmp_path / ("a.tiff" if mode == "I" else "a.png"))
    result = read_image(tmp_path / ("a.tiff" if mode == "I" else "a.png"), 32)
    assert torch.equal(result[0], result[1]) and torch.equal(result[0], result[2])
    if mode == "1":
        assert set(result.unique().tolist()) == {0.0, 1.0}
    else:
        step = 1 / 255 if mode == "L" else 1 / 65535
        expected = torch.from_numpy(ramp).float()
        assert (result[0] - expected).abs().max() < 0.51 * step


def test_16_bits_survive_shrinking(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 12_345, np.uint16)).save(tmp_path / "a.png")
    result = read_image(tmp_path / "a.png", 16)
    torch.testing.assert_close(result, torch.full((3, 16, 16), 12_345 / 65_535), rtol=1e-5, atol=0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_transparent_parts_become_white(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))  # black where nobody sees it
    image.paste((100, 100, 100, 255), (0, 0, 16, 32))
    image.paste((0, 0, 0, 128), (16, 16, 32, 32))
    image = image.convert(mode)
    options = {"lossless": True} if suffix == "webp" else {}
    image.save(tmp_path / f"a.{suffix}", **options)
    grey, white, half = (100,) * 3, (255,) * 3, (127,) * 3
    found = corners(read_image(tmp_path / f"a.{suffix}", 32))
    assert_near(found, [grey, white, grey, half], 1)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = quadrants().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    image.save(tmp_path / "plain.png")
    expected = [RED, GREEN, BLUE, BLUE]
    assert corners(read_image(tmp_path / "plain.png", 32)) == expected
    image.save(tmp_path / "clear.png", transparency=image.getpixel((2, 2)))
    expected[0] = (255, 255, 255)
    assert corners(read_image(tmp_path / "clear.png", 32)) == expected
    quadrants().save(tmp_path / "key.png", transparency=BLUE)  # a colour that means transparent
    white = (255, 255, 255)
    assert corners(read_image(tmp_path / "key.png", 32)) == [RED, GREEN, white, white]


def test_cmyk(tmp_path: Path) -> None:
    quadrants().convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert_near(corners(read_image(tmp_path / "a.jpg", 32)), [RED, GREEN, BLUE, BLUE], 15)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_an_animation_gives_its_first_picture_and_it_is_said(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, how = tmp_path / f"a.{suffix}", {"lossless": True} if suffix == "webp" else {}
    quadrants().save(tmp_path / f"b.{suffix}", **how)
    read_image(tmp_path / f"b.{suffix}", 32)
    assert not caplog.messages
    later = Image.new("RGB", (32, 32), "black")
    quadrants().save(path, save_all=True, append_images=[later], **how)
    assert corners(read_image(path, 32)) == [RED, GREEN, BLUE, BLUE]
    assert caplog.messages == [f"{path}: of its several pictures, the first is taken."]


def test_programs_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript, which Pillow has Ghostscript run, whatever the file is called."""
    ran: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *how, **more: ran.append(how))
    quadrants().save(tmp_path / "a.png", "EPS")
    with pytest.raises(BrokenImage, match="unknown format"):
        read_image(tmp_path / "a.png", 32)
    with pytest.raises(BrokenImage, match="unreadable"):
        write_difference(tmp_path / "a.png", tmp_path / "a.png", tmp_path / "b.png")
    assert not ran


# Broken files


def truncated(suffix: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, suffix)
    return stream.getvalue()[: stream.tell() // 2]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (truncated("png"), "unreadable"),
        (truncated("jpeg"), "unreadable"),
        (truncated("webp"), "unreadable|not an image"),
        (b"just some words\n", "not an image"),
        (b"", "not an image"),
        (bomb(100_000, 100_000), "million pixels"),
    ],
)
def test_a_broken_file_is_named_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    quadrants().save(tmp_path / "good.png")
    folder = ImageFolder(tmp_path, 32)
    with pytest.raises(BrokenImage, match=reason) as caught:
        folder[0]
    assert caught.value.path == tmp_path / "bad.png"
    assert re.search(reason, caught.value.reason)
    assert str(caught.value).count("\n") <= 1 and "bad.png" in str(caught.value)
    assert isinstance(caught.value, RosettaError)
    assert folder[1].id == "good"
