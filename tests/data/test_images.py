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
from PIL import Image
from torch import Tensor

from rosetta_lab.data.fashion.scenes import CLASSES, FashionScenes
from rosetta_lab.data.fashion.targets import FashionTargets, sketch
from rosetta_lab.data.images import (
    BrokenImage,
    ImageFolder,
    ImageNetVal,
    make_ids,
    read_image,
    write_image,
)
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE

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


def test_an_animation_gives_its_first_picture(tmp_path: Path) -> None:
    later = Image.new("RGB", (32, 32), "black")
    quadrants().save(tmp_path / "a.gif", save_all=True, append_images=[later])
    assert corners(read_image(tmp_path / "a.gif", 32)) == [RED, GREEN, BLUE, BLUE]


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


# Data sets


def test_folder_is_sorted_recursive_and_has_stable_ids(tmp_path: Path) -> None:
    names = ["b.png", "a/2.png", "a/10.jpg", "cat.png", "cat.jpg", "Dog.png", "sub/b.png"]
    for name in [*names, ".hidden.png", ".cache/x.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        quadrants().save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    quadrants().save(tmp_path / "dog.webp")  # the same file as Dog on some systems
    folder = ImageFolder(tmp_path, 16)
    assert folder.ids == ["Dog.png", "a/10", "a/2", "b", "cat.jpg", "cat.png", "dog.webp", "sub/b"]
    assert len(folder) == 8
    assert [target.id for target in folder] == folder.ids
    assert folder[0].image.shape == (3, 16, 16)
    assert folder[0].label is None and folder[0].truth == {}


def test_files_that_do_not_look_like_images_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "b.HEIC", "notes.txt", ".hidden.heic"):
        quadrants().save(tmp_path / name, "png")
    assert ImageFolder(tmp_path, 8).ids == ["a"]
    assert f"{tmp_path}: 2 files are passed over" in caplog.text


def test_no_id_is_a_folder_of_another() -> None:
    """Results are written to folders of these names."""
    paths = ["a.png", "a/b.png", "A/b/c.png", "x.jpg", "x.jpg.d/z.png"]
    for names in (paths, paths[::-1]):
        found = dict(zip(names, make_ids([Path(name) for name in names]), strict=True))
        assert found == {
            **{"a.png": "a.png", "a/b.png": "a/b.png", "A/b/c.png": "A/b/c"},
            **{"x.jpg": "x", "x.jpg.d/z.png": "x.jpg.d/z"},
        }


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    for name in (b"caf\xe9.png", b"caf\xe8.png", "caf\u00e9.png".encode()):
        quadrants().save(tmp_path / os.fsdecode(name))
    ids = ImageFolder(tmp_path, 8).ids
    assert sorted(ids) == ["caf\\xe8", "caf\\xe9", "caf\u00e9"]
    assert all(name.encode() for name in ids)  # what a table of results does with them


@pytest.mark.parametrize("most", [1.0, 255.0])
def test_floats(tmp_path: Path, most: float) -> None:
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    Image.fromarray(ramp * most).save(tmp_path / "a.tiff")
    result = read_image(tmp_path / "a.tiff", 32)
    assert (result - torch.from_numpy(ramp)).abs().max() < 1e-6
    ramp[3, 4] = np.nan
    Image.fromarray(ramp).save(tmp_path / "a.tiff")
    with pytest.raises(BrokenImage, match="no numbers"):
        read_image(tmp_path / "a.tiff", 32)


def test_ids_are_unique_even_where_suffixes_pile_up(tmp_path: Path) -> None:
    for name in ["cat.png", "cat.jpg", "cat.png.jpg"]:
        quadrants().save(tmp_path / name)
    assert ImageFolder(tmp_path, 8).ids == ["cat.jpg", "cat.png", "cat.png.jpg"]


def test_one_file_whatever_its_name(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "upload", "png")
    folder = ImageFolder(tmp_path / "upload", 32)
    assert folder.ids == ["upload"] and corners(folder[0].image)[0] == RED


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match="no image in this folder"):
        ImageFolder(tmp_path, 32)
    with pytest.raises(RosettaError, match="no such file or folder"):
        ImageFolder(tmp_path / "missing", 32)


def imagenet(root: Path, folders: list[str], count: int = 6) -> None:
    for label, folder in enumerate(folders):
        (root / folder).mkdir()
        for i in range(count):
            Image.new("RGB", (8, 8), (label, i, 0)).save(root / folder / f"val_{i}.png")


def test_imagenet_takes_the_same_few_of_every_class(tmp_path: Path) -> None:
    imagenet(tmp_path, ["n03", "n01", "n02"])
    chosen = ImageNetVal(tmp_path, 8, per_class=2, num_classes=3)
    assert len(chosen) == 6
    assert chosen.labels == [0, 1, 2, 0, 1, 2]
    assert [i.split("/")[0] for i in chosen.ids[:3]] == ["n01", "n02", "n03"]
    assert chosen[2].label == 2 and chosen[2].id == chosen.ids[2]
    assert int(chosen[2].image[0, 0, 0] * 255 + 0.5) == 0  # n03 was made first
    assert ImageNetVal(tmp_path, 8, per_class=2, num_classes=3).ids == chosen.ids
    parts = [ImageNetVal(tmp_path, 8, 2, start, num_classes=3).ids for start in (0, 2, 4)]
    assert parts[0] == chosen.ids
    assert len({name for part in parts for name in part}) == 18
    seeds = [ImageNetVal(tmp_path, 8, 2, seed=seed, num_classes=3).ids for seed in range(5)]
    assert len({tuple(ids) for ids in seeds}) > 1


def test_imagenet_by_class_index_may_lack_classes(tmp_path: Path) -> None:
    imagenet(tmp_path, ["10", "9", "200", ".cache"])
    assert ImageNetVal(tmp_path, 8, per_class=1).labels == [9, 10, 200]


def test_imagenet_refuses_what_would_give_wrong_labels(tmp_path: Path) -> None:
    imagenet(tmp_path, ["n01", "n02"])
    with pytest.raises(RosettaError, match="2 folders, expected one for each of 1000"):
        ImageNetVal(tmp_path, 8)
    with pytest.raises(RosettaError, match="class n01 has 6 images"):
        ImageNetVal(tmp_path, 8, per_class=7, num_classes=2)
    with pytest.raises(RosettaError, match="no such folder"):
        ImageNetVal(tmp_path / "missing", 8)


def test_fashion_targets_carry_the_truth(fashion_mnist: Path) -> None:
    targets = FashionTargets(size=32, per_class=2, start=3, root=fashion_mnist)
    scenes = FashionScenes("test", 0, 32, fashion_mnist)
    assert len(targets) == 20
    assert [targets[i].label for i in range(20)] == [*range(10), *range(10)]
    other = FashionTargets(size=32, per_class=3, root=fashion_mnist)
    assert len({*targets.ids, *other.ids}) == 50
    for i in (0, 9, 15):
        target, index = targets[i], targets.indices[i]
        scene = scenes[index]
        assert torch.equal(target.image, scene.image[0])
        assert target.id == f"{index:05d}_{CLASSES[int(scene.label)].replace(' ', '_')}"
        truth = [target.truth[key] for key in ("hue", "centre_x", "centre_y", "scale")]
        expected = [scene.hue[0], *scene.centre[0], scene.scale[0]]
        assert truth == [float(value) for value in expected]
    with pytest.raises(RosettaError, match="class t-shirt has 1000 images"):
        FashionTargets(per_class=10, start=991, root=fashion_mnist)


def test_shipped_samples_are_test_scenes(fashion_mnist: Path) -> None:
    samples = ImageFolder(PACKAGE / "data" / "samples", 64)
    assert len(samples) == 8
    scenes = FashionScenes("test", root=fashion_mnist)
    labels = set()
    for path, target in zip(samples.files, samples, strict=True):
        with Image.open(path) as file:
            assert file.size == (64, 64)
            scene = scenes[int(file.info["Source"].rsplit(" ", 1)[1])]
        assert (target.image - scene.image[0]).abs().max() < 0.51 / 255
        assert target.id.startswith(CLASSES[int(scene.label)].replace(" ", "_"))
        labels.add(int(scene.label))
    assert len(labels) == 8


def test_styles_of_fashion_targets(fashion_mnist: Path) -> None:
    scenes, sketches, originals = (
        FashionTargets(per_class=1, root=fashion_mnist, style=style, classes=[2, 9])
        for style in ("scene", "sketch", "original")
    )
    assert scenes.ids == sketches.ids == originals.ids
    assert [scenes[i].label for i in range(2)] == [2, 9]
    assert "hue" in scenes[0].truth
    assert set(sketches[0].truth) == {"centre_x", "centre_y", "scale"}
    grey = originals[1].image
    assert torch.equal(grey[0], grey[2])
    assert float(grey[:, :3, :3].max()) == 0.0  # black around the garment
    with pytest.raises(RosettaError, match="style=oil"):
        FashionTargets(root=fashion_mnist, style="oil")
    with pytest.raises(RosettaError, match="expected 0 to 9"):
        FashionTargets(root=fashion_mnist, classes=[10])


def test_a_sketch_has_lines_where_the_picture_has_edges() -> None:
    picture = torch.full((1, 3, 8, 8), 0.2)
    picture[..., 4:] = 0.9
    lines = sketch(picture)
    expected = torch.ones(8)
    expected[3:5] = 0.0
    torch.testing.assert_close(lines, expected.expand(1, 3, 8, 8), atol=1e-5, rtol=0.0)
