"""Files of latents: what is not surely what was meant is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from small_generator import generator, statistics  # noqa: F401  fixtures
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.latent_files import metadata, read_latents
from rosetta_lab.invert.problem import Inversion
from rosetta_lab.invert.sources import from_file
from rosetta_lab.models.generators.stylegan2 import StyleGAN2

# The fixtures of the small generator are imported by name: z 8, w 12, four slots, three classes.
# ruff: noqa: F811

W = torch.linspace(-1.0, 1.0, 24).reshape(2, 12)
CLASSES = torch.eye(3)[:2]


def with_value(tensor: Tensor, value: float) -> Tensor:
    spoilt = tensor.clone()
    spoilt.view(-1)[3] = value
    return spoilt


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine" / "latent.safetensors"


def write(path: Path, space: str | None = None, **tensors: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"space": space} if space else None)
    return path


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"latent": with_value(W, torch.nan)}, "finite"),
        ({"latent": with_value(W, torch.inf)}, "finite"),
        ({"latent": W.long()}, "no whole numbers"),
        ({"latent": W > 0}, "no whole numbers"),
        ({"latent": W.to(torch.complex64)}, "latent is of torch.complex64"),
        ({"latent": W.to(torch.float8_e4m3fn)}, "latent is of torch.float8_e4m3fn"),
        ({"latent": W, "class_weights": CLASSES.to(torch.float8_e5m2)}, "is of torch.float8_e5m2"),
        ({"latent": W[0]}, r"\(12,\), this generator's are \(N, 8\) for z or \(N, 12\) for w or"),
        ({"latent": W[:0]}, r"\(0, 12\)"),
        ({"latent": torch.tensor(1.0)}, r"\(\)"),
        ({"latent": W[:, None, None]}, r"\(2, 1, 1, 12\)"),
        ({"latent": torch.ones(4, 12)}, "could be of several spaces"),
        ({"latent": torch.ones(2, 4, 12), "class_weights": CLASSES[:1]}, r"expected \(2, 3\)"),
        ({"latent": torch.ones(1, 4, 12), "class_weights": CLASSES}, r"expected \(1, 3\)"),
        ({"latent": W, "class_weights": torch.eye(5)[:2]}, r"\(2, 5\), expected \(2, 3\)"),
        ({"latent": W[:1], "class_weights": CLASSES[0]}, r"\(3,\), expected \(1, 3\)"),
        ({"latent": W, "class_weights": with_value(CLASSES, torch.nan)}, "finite"),
        ({"latent": W, "class_weights": -CLASSES}, "negative"),
        ({"latent": W, "class_weights": 0 * CLASSES}, "all 0"),
    ],
)
def test_what_is_no_latent_is_refused(
    generator, path: Path, tensors: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(RosettaError, match=message) as caught:
        from_file(generator, write(path, **tensors))
    assert str(caught.value).count("\n") == 1


def numpy_file(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, W.numpy())


def numpy_archive(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, latent=W.numpy())


@pytest.mark.parametrize(
    "make",
    [
        numpy_file,
        numpy_archive,
        lambda path: torch.save({"latent": W}, path),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(save({"latent": W})[:-1]),
        lambda path: path.write_bytes(b"\xff" * 64),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("nowhere"),
    ],
)  # fmt: skip
def test_files_of_other_kinds_are_refused_at_once(generator, path: Path, make) -> None:
    path.parent.mkdir()
    make(path)
    with pytest.raises(RosettaError, match="cannot be read") as caught:
        from_file(generator, path)
    assert str(caught.value).count("\n") == 1


def test_what_a_file_says_of_its_space_holds(generator, path: Path) -> None:
    four = torch.randn(4, 12, dtype=torch.float64)
    assert read_latents(generator, write(path, "w", latent=four)).space == "w"
    assert read_latents(generator, write(path, latent=four), "w").space == "w"
    assert read_latents(generator, write(path, latent=four), unsaid="w").space == "w"
    found = read_latents(generator, write(path, latent=four[None]))
    assert found.space == "w+" and torch.equal(found.latent, four[None])
    with pytest.raises(RosettaError, match=r"\(4, 12\), this generator's are \(N, 4, 12\) for w\+"):
        read_latents(generator, write(path, "w+", latent=four))
    with pytest.raises(RosettaError, match=r"space=w, but these are latents of w\+"):
        read_latents(generator, write(path, "w+", latent=four[None]), "w")
    with pytest.raises(RosettaError, match="there is no such choice"):
        read_latents(generator, write(path, "v", latent=four))


def test_where_z_is_as_wide_as_w_the_shape_does_not_tell(path: Path) -> None:
    torch.manual_seed(0)
    wide = StyleGAN2(8, 0, 8, 8, channel_base=64, channel_max=8).eval()
    write(path, latent=torch.full((1, 8), 1e300, dtype=torch.float64))
    with pytest.raises(RosettaError, match="finite"):  # in the generator's precision
        from_file(wide, path)
    write(path, latent=torch.randn(1, 8))
    with pytest.raises(RosettaError, match="space=z or space=w"):
        from_file(wide, path)
    assert from_file(wide, path, "z")[1] == "z" and from_file(wide, path, "w")[1] == "w"
    start = Inversion(wide, None, None, {"l2": 1.0}, start=str(path))
    assert torch.equal(
        start.starting_point(["a"], None), read_latents(wide, path, "w").latent
    )  # of the space that is searched
    write(path, metadata(wide, "z")["space"], latent=torch.randn(1, 8))
    assert from_file(wide, path)[1] == "z"


def test_latents_are_named_by_their_folder_from_wherever_they_are_named(
    generator, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, latent=W[:1])
    monkeypatch.chdir(path.parent)
    assert from_file(generator, Path(path.name))[0].ids == ["mine"]
    monkeypatch.setenv("HOME", str(path.parent.parent))
    assert from_file(generator, Path("~/mine/latent.safetensors"))[0].ids == ["mine"]
    posed = Inversion(generator, None, None, {"l2": 1.0}, start="~/mine/latent.safetensors")
    expected = read_latents(generator, path).latent
    assert torch.equal(posed.starting_point(["a"], None), expected)
