"""DCGAN, and the weights of real faces that an installed package carries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from commands import call
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.base import Generator
from rosetta_lab.models.checkpoints import load_weights
from rosetta_lab.models.checkpoints.download import fetch
from rosetta_lab.models.generators.dcgan import DCGAN
from rosetta_lab.models.load import load_generator
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import resolve_layers
from rosetta_lab.plan.plan import make_plan

CONFIG = OmegaConf.load(asset_root() / "conf" / "gen" / "dcgan_faces.yaml")


def example(z_dim: int, width: int) -> nn.Sequential:
    """The generator of PyTorch's DCGAN example for 16 px, written out."""
    return nn.Sequential(
        nn.ConvTranspose2d(z_dim, 2 * width, 4, 1, 0, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def test_it_is_the_example() -> None:
    torch.manual_seed(0)
    theirs = example(7, 5)
    theirs(torch.randn(6, 7, 1, 1))  # gives the batch norms statistics other than 0 and 1
    ours = DCGAN(7, channels=(10, 5), kernel_sizes=(4, 4, 4))
    ours.load_state_dict({f"main.{name}": value for name, value in theirs.state_dict().items()})
    z = torch.randn(3, 7)
    torch.testing.assert_close(ours.eval()(z), theirs.eval()(z[:, :, None, None]))
    torch.testing.assert_close(ours(z, psi=0.5), ours(z / 2))
    assert ours.resolution == 16
    assert not ours.z_direction_only


@pytest.mark.parametrize("kernels", [(3, 4, 5), (4, 3, 6), (5, 5, 4)])
def test_layers_double_whatever_the_kernel(kernels: tuple[int, ...]) -> None:
    generator = DCGAN(6, channels=(4, 3), kernel_sizes=kernels, img_channels=1, bias=True)
    size = 4 * kernels[0]
    assert generator(torch.randn(2, 6)).shape == (2, 1, size, size)
    assert generator.resolution == size


def small() -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(7, channels=(10, 5), kernel_sizes=(4, 4, 4)).eval()


def test_gradient_reaches_the_latents() -> None:
    z = torch.randn(3, 7, requires_grad=True)
    small()(z).square().mean().backward()
    assert z.grad is not None and z.grad.isfinite().all()
    assert (z.grad.abs().amax(dim=1) > 0).all()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)], ids=["bf16", "fp16"]
)
@torch.no_grad()
def test_autocast(dtype: torch.dtype, tolerance: float) -> None:
    generator, z = small(), torch.randn(3, 7)
    expected = generator(z)
    with torch.autocast("cpu", dtype):
        image = generator(z)
    assert image.dtype == dtype
    assert (image.float() - expected).square().mean().sqrt() <= tolerance * expected.std()


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@torch.no_grad()
def test_compiled(backend: str) -> None:
    torch.compiler.reset()
    generator, z = small(), torch.randn(3, 7)
    compiled = torch.compile(generator, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(z), generator(z), rtol=1e-4, atol=1e-5)


def test_mistakes() -> None:
    with pytest.raises(RosettaError, match=r"kernel_sizes=\[4, 4\]: expected 3"):
        DCGAN(6, channels=(4, 3), kernel_sizes=(4, 4))
    with pytest.raises(RosettaError, match="cutoff=2"):
        DCGAN(6, channels=(4,), kernel_sizes=(4, 4))(torch.zeros(1, 6), cutoff=2)


@pytest.fixture(scope="module")
def faces() -> Generator:
    return load_generator(CONFIG)


@torch.no_grad()
def test_eight_faces(faces: Generator) -> None:
    """Pictures that differ, in the colours of skin, and symmetric on average, as faces are."""
    z = torch.randn(64, faces.z_dim, generator=torch.Generator().manual_seed(0))
    images = faces.to_unit_range(faces(z[:8]))
    assert images.shape == (8, 3, 64, 64)
    assert images.std(dim=(1, 2, 3)).min() > 0.05
    assert torch.pdist(images.flatten(1)).min() > 0.1 * images[0].numel() ** 0.5
    mean = faces.to_unit_range(faces(z)).mean(dim=0)
    red, green, blue = mean[:, 16:48, 16:48].mean(dim=(1, 2))
    assert red > green > blue
    mirrored = torch.stack([mean.flatten(), mean.flip(2).flatten()])
    assert torch.corrcoef(mirrored)[0, 1] > 0.8


def test_units_are_taken_after_relu(faces: Generator) -> None:
    layers = resolve_layers(faces, CONFIG.layers, CONFIG.name)
    with record(faces, layers) as activations, torch.no_grad():
        faces(torch.randn(2, faces.z_dim))
    sizes = [tuple(maps.shape[1:]) for maps in activations.values()]
    assert sizes == [(512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32)]
    for maps in activations.values():
        assert maps.min() == 0.0 < maps.max()


def test_the_package_is_read_and_not_imported(faces: Generator) -> None:
    weights = load_weights(CONFIG.weights)
    assert weights.sha256 == faces.sha256
    assert "gan_face_generate" not in sys.modules
    for name, value in weights.state_dict.items():  # they were saved on a GPU
        assert value.device.type == "cpu", name


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("installed://no_such_package/w.pt#extra", r"rosetta_lab\[extra\].*weights=PATH"),
        ("installed://no.such.package/w.pt#extra", r"no\.such\.package.*is not installed"),
        ("installed://gan_face_generate/no_such.tar#faces", "no such file: .*no_such.tar"),
        ("installed://gan_face_generate/../pip/__init__.py#faces", "outside the package"),
    ],
)
def test_packages_that_do_not_help(source: str, message: str) -> None:
    with pytest.raises(RosettaError, match=f"(?s){message}"):
        fetch(source)


def test_a_dotted_name_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "hostile_parent"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RosettaError, match="is not installed"):
        fetch("installed://hostile_parent.child/w.pt#extra")


@pytest.mark.slow
def test_faces_are_mined_as_planned(tmp_path: Path) -> None:
    """With a model that has never seen any: a public checkpoint and one of ours."""
    choice = ["gen=dcgan_faces", "disc=[resnet_fashion]", "num_images=40"]
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        plan = make_plan(compose("plan", choice), "cpu")
    quiet = ["page_images=2", "hydra.run.dir=run", "trainer.enable_progress_bar=false"]
    done = call("mine", *choice, *quiet, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "RANDOM" not in done.stdout + done.stderr
    mined = RosettaDictionary.load(tmp_path / "run")
    assert mined.summary["units"] == {m.name: m.units for m in plan.models}
    assert mined.summary["units"] == {"dcgan_faces": 960, "resnet_fashion": 416}
    assert mined.reference.weights["source"] == CONFIG.weights
    assert mined.summary["best_buddies"]["resnet_fashion"] > 20
