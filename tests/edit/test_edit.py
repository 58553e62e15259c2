"""``python -m rosetta_lab.edit``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from commands import Done, call
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.files import PACKAGE
from rosetta_lab.invert.sources import from_seeds

QUICK = [
    "steps=3",
    "frames=2",
    "reference_images=8",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
]
ALONE = ["controls=false", "classifier=null", "frames=0"]


def run(*arguments: str, cwd: Path) -> Done:
    return call("edit", *QUICK, *arguments, cwd=cwd)


def pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return data.reshape(image.height, image.width, 3).permute(2, 0, 1) / 255.0


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an edit of two seeds, and what the command said."""
    folder = tmp_path_factory.mktemp("edit") / "run"
    done = run("latent.seed=[3,14]", f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_seeds_leave_pictures_latents_figures_and_a_page(seeds: tuple[Path, str]) -> None:
    folder, said = seeds
    for name in ("seed_3", "seed_14"):
        own = folder / "results" / name
        for picture in ("before", "rosetta", "random_units", "activations"):
            assert pixels(own / f"{picture}.png").shape == (3, 64, 64)
        figures = json.loads((own / "edit.json").read_text())
        assert {"moved_x", "moved_share", "class_kept"} <= set(figures["activations"])
        assert figures["rosetta"]["agreement"] > figures["rosetta"]["agreement_before"]
        stored = load_file(own / "latent.safetensors")
        assert stored["latent"].shape == (1, 64) and stored["curve/total"].shape == (3,)
        assert int(stored["class_weights"].argmax()) == int(name.split("_")[1]) % 10
        assert (own / "rosetta.gif").is_file()
    for name in ("index.html", "results.csv", "grid.png"):
        assert (folder / name).is_file()
    assert f"recipe={folder / 'recipe.yaml'}" in said


def test_loggers_are_told_the_losses_of_every_arm(seeds: tuple[Path, str]) -> None:
    folder, _ = seeds
    with (folder / "csv" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [folder / "results" / name for name in ("seed_3", "seed_14")]
    for arm, stem in (("rosetta", "latent"), ("random_units", "latent_random_units")):
        told = {int(row["step"]): row for row in rows if row[f"{arm}/loss/total"]}
        assert list(told) == [0, 2]  # the first and the last of three steps
        curves = [load_file(name / f"{stem}.safetensors") for name in names]
        for part in ("activation", "total"):
            mean = torch.stack([curve[f"curve/{part}"] for curve in curves]).mean(dim=0)
            for step, row in told.items():
                assert float(row[f"{arm}/loss/{part}"]) == pytest.approx(float(mean[step]))


@pytest.mark.parametrize("command", ["edit", "visualize"])
def test_several_devices_are_refused(command: str, tmp_path: Path) -> None:
    how = ["trainer.accelerator=cpu", "trainer.devices=2"]
    done = call(command, *how, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 1
    assert "this command works on one device" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_other_generator_family(tmp_path: Path) -> None:
    """BigGAN's units are what its convolutions take in, and truncation is one of its latents."""
    for command, arguments in {
        "mine": ["gen=biggan_fashion", "disc=[resnet_fashion]", "num_images=64", "page_images=1"],
        "edit": ["latent.seed=[3,14]", "dictionary=mine", *QUICK],
        "invert": ["dictionary=mine", f"images={PACKAGE / 'data/samples/coat_red.png'}", "steps=2"],
    }.items():
        done = call(command, *arguments, f"hydra.run.dir={command}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "edit" / "results" / "seed_3" / "edit.json").read_text())
    assert figures["rosetta"]["agreement"] > figures["rosetta"]["agreement_before"]
    assert {"activations", "random units"} <= set(figures)
    assert (tmp_path / "invert" / "index.html").is_file()


def test_a_recipe_gives_the_same_pictures(seeds: tuple[Path, str], tmp_path: Path) -> None:
    folder = seeds[0]
    done = run(
        f"recipe={folder / 'recipe.yaml'}", f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for name in ("seed_3", "seed_14"):
        one, two = (root / "results" / name for root in (folder, tmp_path / "run"))
        for picture in ("before", "rosetta", "random_units", "activations"):
            assert (one / f"{picture}.png").read_bytes() == (two / f"{picture}.png").read_bytes()
        a, b = (load_file(own / "latent.safetensors") for own in (one, two))
        assert all(torch.equal(a[key], b[key]) for key in a)
    recipes = [(root / "recipe.yaml").read_text() for root in (folder, tmp_path / "run")]
    assert recipes[0] == recipes[1]


def test_what_is_named_beside_a_recipe_goes_before_it(
    seeds: tuple[Path, str], tmp_path: Path
) -> None:
    """Wherever it stands, and also what depends on it; the record is of what ran."""
    how = ["latent.seed=[3]", "alpha=0.7", "edit.shift.dx=-0.5", "controls=false", "frames=0"]
    done = call(
        "edit", "steps=2", f"recipe={seeds[0] / 'recipe.yaml'}", *how, *QUICK[-2:],
        f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run"
    stored = load_file(own / "results" / "seed_3" / "latent.safetensors")
    assert stored["curve/total"].shape == (2,)
    total = stored["curve/activation"] + 0.7 * stored["curve/latent_l2"]
    torch.testing.assert_close(stored["curve/total"], total)
    assert [path.name for path in (own / "results").iterdir()] == ["seed_3"]
    for path in (own / "recipe.yaml", own / ".hydra" / "config.yaml"):
        ran = OmegaConf.load(path)
        assert (ran.steps, ran.alpha, ran.loss.latent_l2, ran.edit.shift.dx) == (2, 0.7, 0.7, -0.5)
        assert (ran.reference_images, ran.controls) == (8, False)  # the recipe's, and ours
    assert "moved" in (own / "results.csv").read_text()


def test_a_latent_file_and_one_concept(tmp_path: Path) -> None:
    mined = load_mined("embedded")
    start = from_seeds(mined.generator, [5], 8, "w+", 0.7)
    file = tmp_path / "a bag" / "latent.safetensors"
    file.parent.mkdir()
    save_file({"latent": start.latent, "class_weights": start.c}, file)
    done = run(
        f"latent.file='{file}'", "concepts=[0]", "edit=suppress", *ALONE,
        f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run" / "results" / "a bag"
    with torch.no_grad():
        image = mined.generator.to_unit_range(mined.generator.synthesize(start.latent))[0]
    assert float((pixels(own / "before.png") - image).abs().max()) < 0.003  # half a step of 255
    assert load_file(own / "latent.safetensors")["latent"].shape == start.latent.shape
    figures = json.loads((own / "edit.json").read_text())["rosetta"]
    assert figures["concept_change"] < 0.0 and figures["others_change"] > 0.0


def test_pictures_are_inverted_first(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (90, 70), "navy").save(images / "night.jpg")
    done = run(
        f"images={images}", "perceptual=resnet_fashion", "inversion.steps=4", "latent.label=2",
        *ALONE, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run" / "results" / "night"
    navy = torch.tensor([0.0, 0.0, 128 / 255])
    assert float((pixels(own / "picture.png")[:, 32, 32] - navy).abs().max()) < 0.02
    stored = load_file(own / "latent.safetensors")
    assert stored["latent"].dim() == 3 and int(stored["class_weights"].argmax()) == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("concepts=[999]", "there is no concept 999"),
        ("latent.label=sneeker", "expected 0 to 9"),
        ("recipe={evil}", "not a Edit"),
    ],
)
def test_mistakes_are_told_in_two_lines(argument: str, message: str, tmp_path: Path) -> None:
    evil, witness = tmp_path / "evil.yaml", tmp_path / "witness"
    evil.write_text(f"edit: {{shift: {{_target_: os.system, command: touch {witness}}}}}\n")
    done = run(argument.format(evil=evil), f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert message in said and "Traceback" not in said
    assert not witness.exists()
