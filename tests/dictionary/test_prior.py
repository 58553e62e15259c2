"""Which latents a dictionary is looked at with: of the mined classes, at the mined psi."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import call
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from rosetta_lab.data.latents import sample_z
from rosetta_lab.dictionary.mined import EMBEDDED, load_mined
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.biggan_deep import BigGANDeep

QUICK = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "steps=1"]
CLASSES = [8, 3]
pytestmark = pytest.mark.slow  # BigGAN takes long to mine


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BigGAN, two of its classes at psi 0.4."""
    folder = tmp_path_factory.mktemp("mined") / "run"
    done = call(
        "mine", "gen=biggan_fashion", "disc=[resnet_fashion]", "num_images=16", "page_images=1",
        f"classes={CLASSES}", "psi=0.4", *QUICK[:2], f"hydra.run.dir={folder}", cwd=folder.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def drawn(generator: Generator, seed: int, number: int, label: int, psi: float) -> Tensor:
    """The image (3, R, R) in [0, 1] of a latent of a stream: one psi for z and the statistics."""
    z = psi * sample_z(seed, number, generator.z_dim)[None]
    c = torch.eye(generator.num_classes)[[label]]
    with torch.no_grad():
        images = generator.synthesize(generator.map(z, c), psi)
    return generator.to_unit_range(images)[0]


def pixels(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return pil_to_tensor(picture.convert("RGB")).float() / 255.0


@pytest.mark.slow
@pytest.mark.parametrize("psi", [None, 0.9])
def test_edits_draw_what_was_mined(mined: Path, tmp_path: Path, psi: float | None) -> None:
    asked = [] if psi is None else [f"psi={psi}"]
    done = call(
        "edit", f"dictionary={mined}", "latent.seed=[3,14]", "controls=false", "frames=0",
        "reference_images=2", *QUICK, *asked, "hydra.run.dir=run", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    generator = load_mined(mined).generator
    for seed, label in ((3, 3), (14, 8)):  # the mined classes in turn
        own = tmp_path / "run" / "results" / f"seed_{seed}"
        assert int(load_file(own / "latent.safetensors")["class_weights"].argmax()) == label
        expected = drawn(generator, seed, 0, label, psi or 0.4)
        assert float((pixels(own / "before.png") - expected).abs().max()) < 0.003


@pytest.mark.slow
def test_views_show_what_was_mined(
    mined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both what it fires on, and the starts."""
    shown: list[Tensor] = []

    def watched(generator: Generator, latent: Tensor, psi: float = 1.0) -> Tensor:
        images = synthesize(generator, latent, psi)
        shown.extend(generator.to_unit_range(images.detach()))
        return images

    synthesize = BigGANDeep.synthesize
    monkeypatch.setattr(BigGANDeep, "synthesize", watched)
    done = call(
        "visualize", f"dictionary={mined}", "neuron=0", "images=4", "shown=4", "seeds=[5,6]",
        *QUICK, "hydra.run.dir=run", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    monkeypatch.undo()
    generator = load_mined(mined).generator
    for seed, number, label in ((0, 0, 8), (0, 1, 3), (0, 2, 8), (5, 0, 3), (6, 0, 8)):
        expected = drawn(generator, seed, number, label, 0.4)
        assert min(float((image - expected).abs().max()) for image in shown) < 1e-4
    stored = load_file(tmp_path / "run" / "neuron_0" / "latent.safetensors")
    assert stored["class_weights"].argmax(dim=1).tolist() == [3, 8]


def test_the_latents_of_the_mining_run_come_back(mined: Path) -> None:
    found = load_mined(mined)
    batch = found.images(64, 0, 0.4).batch([0, 1, 5])
    assert batch.label is not None and batch.label.tolist() == [8, 3, 3]
    torch.testing.assert_close(batch.z[2], 0.4 * sample_z(0, 5, 64))
    torch.testing.assert_close(found.images(1, 0, 0.7).batch([0]).z[0], 0.7 * sample_z(0, 0, 64))


def test_classes_of_random_labels_are_mined_ones(mined: Path) -> None:
    found = load_mined(mined)
    drawn = from_seeds(found.generator, range(30), "random", **found.prior(0.4))
    assert drawn.c is not None and set(drawn.c.argmax(dim=1).tolist()) == set(CLASSES)


def test_a_psi_that_scales_no_z_leaves_z_alone() -> None:
    assert "scale" not in load_mined("embedded").distribution(0.5)


def test_classes_that_the_generator_lacks_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED, tmp_path / "mined"))
    record = json.loads((folder / "dictionary.json").read_text())
    record["config"]["classes"] = [3, 12]
    (folder / "dictionary.json").write_text(json.dumps(record))
    with pytest.raises(RosettaError, match="there is no class 12"):
        load_mined(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "Not a Rosetta dictionary"),
        (b"", "is not JSON"),
        (b"\xff\xfe{}", "cannot be read"),
        (None, "No dictionary at"),
    ],
)
def test_what_is_no_dictionary_is_told_in_two_lines(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "dictionary.json").write_bytes(content)
    with pytest.raises(RosettaError, match=message) as caught:
        load_mined(tmp_path)
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize("given", [["a", "b"], None, "", 5])
def test_what_names_no_folder_is_told(given: object) -> None:
    with pytest.raises(RosettaError, match="No dictionary at"):
        load_mined(given)  # type: ignore[arg-type]
