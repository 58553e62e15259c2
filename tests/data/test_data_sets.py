"""Folders and data sets of images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from coloured import RED, corners, quadrants
from PIL import Image

from rosetta_lab.data.fashion.scenes import CLASSES, FashionScenes
from rosetta_lab.data.fashion.targets import FashionTargets, sketch
from rosetta_lab.data.folders import make_ids
from rosetta_lab.data.images import (
    BrokenImage,
    ImageFolder,
    ImageNetVal,
    read_grey,
    read_image,
)
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE

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


# What is passed over, and what is no image


def odd_folder(root: Path) -> dict[str, int]:
    """A folder with two images among everything else; what there is to pass over, by its reason."""
    (root / "in" / "sub").mkdir(parents=True)
    (root / "elsewhere").mkdir()
    for name in ("elsewhere/x.png", "in/a.png", "in/sub/notes.txt"):
        quadrants().save(root / name, "png")
    (root / "in" / "b.png").symlink_to(root / "elsewhere" / "x.png")
    (root / "in" / "more").symlink_to(root / "elsewhere")
    (root / "in" / "sub" / "round").symlink_to(root / "in")
    (root / "in" / "gone.png").symlink_to(root / "nothing.png")
    (root / "in" / "loop.png").symlink_to(root / "in" / "loop.png")
    os.mkfifo(root / "in" / "pipe.png")
    os.mkfifo(root / "in" / "sub" / "pipe")
    return {"links to folders": 2, "links to nothing": 2, "pipes, sockets or devices": 2,
            "with names that do not end like an image's": 1}  # fmt: skip


def test_everything_that_is_passed_over_is_counted_by_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reasons = odd_folder(tmp_path)
    folder = ImageFolder(tmp_path / "in", 8)
    assert folder.ids == ["a", "b"]  # a link to an image is one
    assert torch.equal(folder[0].image, folder[1].image)
    (said,) = caplog.messages
    assert f"{tmp_path / 'in'}: 7 files are passed over" in said
    assert all(f"{count} {reason}" in said for reason, count in reasons.items())


def test_a_folder_that_cannot_be_read_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    quadrants().save(tmp_path / "a.png")
    scandir = os.scandir

    def refused(path: str) -> object:  # as for anybody but the administrator
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert ImageFolder(tmp_path, 8).ids == ["a"]
    assert "1 folders that cannot be read" in caplog.text


def test_a_pipe_is_no_image_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (lambda path: read_image(path, 8), read_grey):
        with pytest.raises(BrokenImage, match="no such file"):
            read(tmp_path / "pipe.png")
    with pytest.raises(RosettaError, match="no such file or folder"):
        ImageFolder(tmp_path / "pipe.png", 8)


def test_imagenet_counts_what_it_passes_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    imagenet(tmp_path, ["0", "1"])
    (tmp_path / "0" / "gone.png").symlink_to("nothing")
    (tmp_path / "1" / "list.txt").write_text("")
    assert len(ImageNetVal(tmp_path, 8, per_class=2)) == 4
    assert f"{tmp_path}: 2 files are passed over" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        np.full((8, 8), 70_000, np.int32),
        np.full((8, 8), -1, np.int32),
        np.full((8, 8), 300.0, np.float32),
        np.linspace(-1.0, 1.0, 64, dtype=np.float32).reshape(8, 8),
    ],
)
def test_pixels_out_of_range_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(BrokenImage, match="out of the range"):
        read_image(tmp_path / "a.tiff", 8)


def test_masks_are_grey_whatever_their_file_is_like(tmp_path: Path) -> None:
    """16 bits, transparency, a palette, turned by EXIF."""
    left = np.zeros((4, 6), np.uint8)
    left[:, :3] = 255
    expected = torch.from_numpy(left / 255.0).float()
    deep = Image.fromarray(left.astype(np.uint16) * 257)
    clear = Image.merge("LA", (Image.fromarray(left), Image.new("L", (6, 4), 0)))
    files = {"plain": Image.fromarray(left), "deep": deep, "clear": clear}
    files["palette"] = Image.fromarray(left).convert("P")
    for name, picture in files.items():
        picture.save(tmp_path / f"{name}.png")
        torch.testing.assert_close(read_grey(tmp_path / f"{name}.png"), expected)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(left)))
    turned.save(tmp_path / "turned.png", exif=exif)
    torch.testing.assert_close(read_grey(tmp_path / "turned.png"), expected)
