"""How images become optimisation problems: classes, starts and anchors, on a toy generator."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save_file
from small_generator import generator  # noqa: F401  a fixture
from torch import Tensor, nn

from rosetta_lab.data.images import BrokenImage, Target
from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.edit.setup import load_sources
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert import latent_code, run
from rosetta_lab.invert.judge import Judge
from rosetta_lab.invert.latent_code import MeanLatents, random_z
from rosetta_lab.invert.latent_files import metadata
from rosetta_lab.invert.problem import Inversion, TargetBatch, TargetBatches
from rosetta_lab.invert.results import Results
from rosetta_lab.invert.run import RecordedInversion
from rosetta_lab.models.base import Generator

# The fixture of the toy generator is imported by name.
# ruff: noqa: F811

IDS = ["one", "two", "three"]


class Classifier(nn.Module):
    """Logits of three classes: 9 times the mean of every colour."""

    def forward(self, images: Tensor) -> Tensor:
        return 9.0 * images.mean(dim=(2, 3))


def batch(labels: list[int | None] | None = None, ids: list[str] = IDS) -> TargetBatch:
    images = torch.zeros(len(ids), 3, 8, 8, dtype=torch.float64)
    for place, image in enumerate(images):
        image[place % 3] = 1.0
    return TargetBatch(ids, images, labels or [None] * len(ids), [{}] * len(ids))


def inversion(generator: Generator, **how: object) -> Inversion:
    options: dict[str, object] = {"label": 0, **how}
    return Inversion(generator, None, None, {"l2": 1.0, "latent_l2": 0.1}, **options)  # type: ignore[arg-type]


@pytest.fixture
def means(generator) -> Tensor:
    """Mean w of every class (3, D), by hand."""
    z = torch.stack([random_z(generator, [str(i)], 0)[0] for i in range(10_000)])
    eye = torch.eye(3, dtype=torch.float64)
    return torch.stack([generator.map(z, c.expand(len(z), 3))[:, 0].mean(dim=0) for c in eye])


# Classes


def test_classes_are_given_inferred_or_one_for_all(generator) -> None:
    eye = torch.eye(3, dtype=torch.float64)
    inferred = torch.softmax(9.0 * eye, dim=1)

    def weights(labels, **how) -> Tensor:
        code, _ = inversion(generator, classifier=Classifier(), **how)(batch(labels))
        return code.class_weights

    assert torch.equal(weights([2, 0, 1], label="given"), eye[[2, 0, 1]])
    mixed = torch.stack([eye[2], inferred[1], eye[1]])  # the others do not matter to an image
    torch.testing.assert_close(weights([2, None, 1], label="given"), mixed)
    torch.testing.assert_close(weights([2, 0, 1], label="inferred"), inferred)
    assert torch.equal(weights([2, 0, 1], label=1), eye[[1, 1, 1]])
    assert torch.equal(weights(None, label="1"), eye[[1, 1, 1]])


def test_classes_that_nobody_knows(generator) -> None:
    with pytest.raises(RosettaError, match="no classifier to infer them"):
        inversion(generator, label="given")(batch())


# Starts


@pytest.mark.parametrize("space", ["w", "w+"])
def test_inferred_classes_weigh_the_mean(generator, means, space) -> None:
    posed = inversion(generator, label="inferred", classifier=Classifier(), space=space)
    code, _ = posed(batch())
    mixed = torch.softmax(9.0 * torch.eye(3, dtype=torch.float64), dim=1) @ means
    value = code.value.detach()
    assert value.shape == ((3, 12) if space == "w" else (3, 4, 12))
    for slot in [value] if space == "w" else value.unbind(dim=1):
        torch.testing.assert_close(slot, mixed, atol=2e-3, rtol=0)  # 99.9 % of the weight


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_random_starts_belong_to_names(generator, space) -> None:
    posed = inversion(generator, start="random", space=space, seed=4)
    together = posed(batch())[0].value.detach()
    alone = posed(batch(ids=["three"]))[0].value.detach()
    torch.testing.assert_close(together[2], alone[0])
    assert float((together[0] - alone[0]).abs().max()) > 0.1
    z = random_z(generator, IDS, 4)
    w = generator.map(z, torch.eye(3, dtype=torch.float64)[[0, 0, 0]])
    torch.testing.assert_close(together, {"z": z, "w": w.mean(dim=1), "w+": w}[space])


def write(path: Path, latent: Tensor, notes: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"latent": latent}, path, notes)
    return path


def test_a_file_of_one_latent_starts_all(generator, tmp_path: Path) -> None:
    w = torch.arange(12.0, dtype=torch.float64)[None]
    file = str(write(tmp_path / "a.safetensors", w))
    assert torch.equal(inversion(generator, start=file)(batch())[0].value, w.expand(3, -1))
    wide = inversion(generator, start=file, space="w+")(batch())[0].value
    assert torch.equal(wide, w[:, None].expand(3, 4, -1))
    z = random_z(generator, ["x"], 0)
    file = str(write(tmp_path / "z.safetensors", z))
    found = inversion(generator, start=file, space="w+", label=2)(batch())[0].value
    c = torch.eye(3, dtype=torch.float64)[2:]
    torch.testing.assert_close(found[1:2].detach(), generator.map(z, c))


def test_a_runs_folder_starts_every_image_from_its_own(generator, tmp_path: Path) -> None:
    for place, name in enumerate(IDS):
        latent = torch.full((1, 12), float(place), dtype=torch.float64)
        write(tmp_path / "results" / name / "latent.safetensors", latent)
    posed = inversion(generator, start=str(tmp_path))
    assert posed(batch(ids=["three", "one"]))[0].value[:, 0].tolist() == [2.0, 0.0]
    with pytest.raises(RosettaError, match=r"results/four/latent.safetensors: cannot be read"):
        posed(batch(ids=["four"]))


@pytest.mark.parametrize(
    ("latent", "space", "message"),
    [
        (torch.zeros(3, 12), "w", "holds 3 latents, expected one"),
        (torch.zeros(1, 12), "z", "Choose space=w, or another start"),
        (torch.zeros(1, 5), "w", r"are \(1, 5\), this generator's are \(N, 8\) for z or \(N, 12\)"),
    ],
)
def test_files_that_start_nothing(generator, tmp_path: Path, latent, space, message) -> None:
    file = write(tmp_path / "a.safetensors", latent)
    with pytest.raises(RosettaError, match=message):
        inversion(generator, start=str(file), space=space)(batch())


def test_latents_say_whose_they_are(generator, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(generator, "sha256", "a" * 64)
    notes = metadata(generator, "w")
    file = str(write(tmp_path / "a.safetensors", torch.zeros(1, 12), notes))
    inversion(generator, start=file)(batch())
    monkeypatch.setattr(generator, "sha256", "b" * 64)
    with pytest.raises(RosettaError, match="generator with other weights"):
        inversion(generator, start=file)(batch())


@pytest.mark.parametrize(
    ("start", "space"),
    [
        *(("mean", "w"), ("mean", "w+")),
        *(("random", "z"), ("random", "w"), ("random", "w+")),
        *(("file", "z"), ("file", "w"), ("file", "w+")),
    ],
)
def test_every_start_is_held_near_the_prior_mean(generator, means, tmp_path, start, space) -> None:
    if start == "file":
        start = str(write(tmp_path / "a", torch.ones(1, 8 if space == "z" else 12).double()))
    code, objective = inversion(generator, start=start, space=space, label=1)(batch())
    prior = torch.zeros(8, dtype=torch.float64) if space == "z" else means[1]
    torch.testing.assert_close(code.anchor, prior.expand_as(code.anchor))
    distance = (code.value.detach() - prior).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(objective(code).parts["latent_l2"].detach(), distance)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"start": "meen"}, "Choose mean, random, a safetensors file"),
        ({"space": "v"}, "Choose from z, w, w+"),
        ({"label": "sneaker"}, "expected 0 to 2"),
        ({"label": 3}, "expected 0 to 2"),
        ({"label": -1}, "expected 0 to 2"),
        ({"optimize_class": True}, "Choose space=z"),
        ({"optimize_class": True, "space": "w+"}, "Choose space=z"),
        ({"space": "z", "start": "mean"}, "Choose start=random"),
    ],
)
def test_mistakes(generator, how, message) -> None:
    with pytest.raises(RosettaError, match=message) as caught:
        inversion(generator, **how)
    assert str(caught.value).count("\n") <= 1


# Means


def test_means_draw_once_and_take_flat_distributions(generator, means, monkeypatch) -> None:
    drawn: list[int] = []

    def counted(one, names, *rest, **how) -> Tensor:
        drawn.append(len(names))
        return random_z(one, names, *rest, **how)

    monkeypatch.setattr(latent_code, "random_z", counted)
    found = MeanLatents(generator)
    weights = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0005, 0.9995]], dtype=torch.float64)
    weights[0] /= 3.0
    mixed = found.weighted(weights, 2)
    torch.testing.assert_close(mixed[0], means.mean(dim=0))
    torch.testing.assert_close(mixed[1], means[2])  # the rest is below a thousandth
    assert drawn == [10_000]


# Batches and results


class Targets(list[Target]):
    """Three images, the second of which is broken."""

    ids = IDS

    def __getitem__(self, place: int) -> Target:  # type: ignore[override]
        if place == 1:
            raise BrokenImage(Path("two.png"), "unreadable")
        return Target(IDS[place], torch.zeros(3, 8, 8, dtype=torch.float64))

    def __len__(self) -> int:
        return 3


def recorded(generator: Generator, folder: Path, pti: int = 0) -> RecordedInversion:
    options = {"steps": pti, "lr": 1e-2, "l2": 1.0}
    return RecordedInversion(inversion(generator), Judge([]), Results(folder), options, steps=2)


def test_a_broken_image_costs_no_second_run_of_its_batch(
    generator, tmp_path: Path, monkeypatch
) -> None:
    module = recorded(generator, tmp_path)
    broken = TargetBatches(Targets(), 3)[0]
    assert broken.ids == ["one", "three"]
    assert module.predict_step(broken, 0) is not None
    monkeypatch.setattr(module, "pose", lambda _: pytest.fail("done already"))
    assert module.predict_step(broken, 0) is None


def test_a_tuned_image_is_written_before_the_next_is_tuned(
    generator, tmp_path: Path, monkeypatch
) -> None:
    tuning, done = run.pivotal_tuning, []

    def interrupted(*what, **how) -> Generator:
        done.append([module.results.done(name) for name in IDS])
        if len(done) == 3:
            raise KeyboardInterrupt
        return tuning(*what, **how)

    monkeypatch.setattr(run, "pivotal_tuning", interrupted)
    module = recorded(generator, tmp_path, pti=1)
    with pytest.raises(KeyboardInterrupt):
        module.predict_step(batch(), 0)
    assert done == [[False] * 3, [True, False, False], [True, True, False]]
    assert module.results.read("one")["tuned_psnr"] > 0.0
    # An edit of it starts from the generator as it was tuned.
    own = tmp_path / "results" / "two"
    bare = OmegaConf.create({"gen": {}})
    other = Mined(None, tmp_path, bare, "cpu", generator=copy.deepcopy(generator))  # type: ignore[arg-type]
    latent = {"file": str(own / "latent.safetensors"), "label": None}
    asked = {"images": None, "inversion": {}, "latent": latent, "space": None}
    sources, space = load_sources(OmegaConf.create(asked), other)
    assert (sources.ids, space) == (["two"], "w")

    def steps_from(name: str, network: Generator) -> float:
        """Largest distance to a picture, in steps of 255."""
        code = latent_code.LatentCode(network, space, sources.latent, sources.c)
        picture = torch.from_numpy(np.array(Image.open(own / name))).permute(2, 0, 1)
        return float((code.images().detach().clamp(0.0, 1.0)[0] * 255.0 - picture).abs().max())

    assert steps_from("tuned.png", other.generator) < 0.6 < steps_from("tuned.png", generator)
