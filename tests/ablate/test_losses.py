"""What is lost, in networks where it is known which unit carries what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy import ToyGenerator

from rosetta_lab.ablate.losses import SCALE, ImageLosses, ModelLosses, joined
from rosetta_lab.ablate.units import MATCHED, RANDOM, ROSETTA, Chosen, choose
from rosetta_lab.data.fashion.targets import FashionTargets
from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.invert.problem import TargetBatch, one_batch
from rosetta_lab.invert.sources import Sources, reference
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.recording import held
from rosetta_lab.models.units import Layer, UnitIndex

SIZE = 8
MEANS = torch.tensor([0.4, 0.5, 0.6])


class RedOrNot(nn.Module):
    """Class 1 where the first unit, the red one, is above one half on average."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Identity()
        self.middle = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        red = self.colours(x)[:, 0].mean(dim=(1, 2))
        return torch.stack([self.middle - red, red - self.middle], dim=1)


def one_unit() -> tuple[DiscriminativeModel, Chosen]:
    model = DiscriminativeModel(RedOrNot(), Preprocess((SIZE, SIZE)), ["colours"])
    model.num_classes = 2
    arms = {
        ROSETTA: [torch.tensor([0])],
        MATCHED: [torch.tensor([1]), torch.tensor([2])],
        RANDOM: [torch.tensor([2]), torch.tensor([0])],
    }
    return model, Chosen(UnitIndex([Layer("colours", 3, SIZE, SIZE)]), MEANS, torch.ones(3), arms)


def batch(count: int = 12, seed: int = 0) -> TargetBatch:
    """Plain images, five of twelve red; two of the others are labelled wrongly."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 1, 1, generator=random).expand(-1, -1, SIZE, SIZE).clone()
    red = torch.arange(count) % 12 < 5
    images[:, 0] = torch.where(red, 0.9, 0.2)[:, None, None]
    labels = red.long()
    labels[5:7] = 1
    return TargetBatch([str(i) for i in range(count)], images, labels.tolist(), [{}] * count)


def test_the_unit_that_carries_the_class_loses_it_and_no_other_does() -> None:
    model, chosen = one_unit()
    lost = ModelLosses(model, chosen, classes=2)(batch())["accuracy"]
    assert lost[SCALE][0].tolist() == [1.0] * 5 + [0.0] * 2 + [1.0] * 5
    # At its mean, 0.4, no image is red any more.
    assert lost[ROSETTA].tolist() == [[1.0] * 5 + [0.0] * 7]
    assert lost[MATCHED].tolist() == [[0.0] * 12] * 2
    assert lost[RANDOM].tolist() == [[0.0] * 12, [1.0] * 5 + [0.0] * 7]


def test_a_class_that_is_only_now_right_counts_against() -> None:
    model, chosen = one_unit()
    some = batch()
    some.labels[0] = 0  # red, but labelled as not
    assert ModelLosses(model, chosen, classes=2)(some)["accuracy"][ROSETTA][0, 0] == -1.0


def test_similarity_is_the_cosine_of_the_outputs() -> None:
    model, chosen = one_unit()
    some = batch()
    losses = ModelLosses(model, chosen, classes=2)
    lost = losses(some)["similarity"]
    changed = some.images.clone()
    changed[:, 0] = MEANS[0]
    a, b = model(some.images).double(), model(changed).double()
    expected = [1.0 - float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b, strict=True)]
    assert lost[ROSETTA][0].tolist() == pytest.approx(expected, abs=1e-6)
    assert lost[ROSETTA].amax() > 1.9  # red ones turn round
    assert lost[MATCHED].abs().amax() < 1e-6


@pytest.mark.parametrize(
    ("labels", "classes"), [([None] * 12, 2), ([1] * 11 + [None], 2), ([1] * 12, 3), ([1] * 12, 0)]
)
def test_accuracy_needs_labels_and_logits_of_their_classes(
    labels: list[int | None], classes: int
) -> None:
    model, chosen = one_unit()
    some = batch()
    some.labels = labels
    assert list(ModelLosses(model, chosen, classes)(some)) == ["similarity"]


def test_an_output_as_wide_as_there_are_classes_need_not_be_their_logits() -> None:
    model, chosen = one_unit()
    assert "accuracy" in ModelLosses(model, chosen, 2)(batch())
    model.num_classes = 0
    assert list(ModelLosses(model, chosen, 2)(batch())) == ["similarity"]


def test_outputs_of_two_images_are_compared_over_all_pairs_and_batches() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.colours, self.last = nn.Identity(), nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.colours(x).mean(dim=(2, 3)))

    torch.manual_seed(0)
    model = DiscriminativeModel(Last(), Preprocess((SIZE, SIZE)), ["colours"])
    losses = ModelLosses(model, one_unit()[1])
    parts = [batch(7, 1), batch(5, 2)]
    for part in parts:
        losses(part)
    outputs = nn.functional.normalize(torch.cat([model(p.images) for p in parts]).double(), dim=1)
    pairs = [1.0 - float(outputs[i] @ outputs[j]) for i in range(12) for j in range(12) if i != j]
    assert float(losses.between_images()) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_batches_make_no_difference() -> None:
    model, chosen = one_unit()
    losses, whole = ModelLosses(model, chosen, 2), batch(12)
    parts = [
        TargetBatch(whole.ids[s], whole.images[s], whole.labels[s], whole.truth[s])
        for s in (slice(0, 5), slice(5, 12))
    ]
    one, two = losses(whole), joined([losses(part) for part in parts])
    for figure, arms in one.items():
        for arm, values in arms.items():
            assert torch.allclose(values, two[figure][arm], atol=1e-6), (figure, arm)


# Of a generator


class Pixels(Perceptual):
    """Mean squared difference of the pixels."""

    def __init__(self) -> None:
        super().__init__("squares", [])

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images]


def test_images_change_as_their_colours_do() -> None:
    generator = ToyGenerator(num_classes=2).eval()  # its first three units are the colours
    index = UnitIndex([Layer("late", 6, SIZE, SIZE)])
    arms = {ROSETTA: [torch.tensor([0, 4])], MATCHED: [torch.tensor([4]), torch.tensor([5])]}
    chosen = Chosen(index, torch.linspace(0.1, 0.6, 6), torch.ones(6), arms)
    model = DiscriminativeModel(RedOrNot(), Preprocess((SIZE, SIZE)), ["colours"])
    c = torch.eye(2)[torch.arange(20) % 2]
    sources = reference(generator, 20, "z")
    sources = Sources(sources.ids, 3.0 * sources.latent, c)
    lost = ImageLosses(generator, chosen, 1.0, Pixels(), model)(sources)
    with torch.no_grad():
        before = generator(sources.latent, c)
    after = before.clone()
    after[:, 0] = 0.1
    difference = (after - before).double()
    torch.testing.assert_close(
        lost["pixels"][ROSETTA][0].double(), difference.abs().mean(dim=(1, 2, 3)), atol=1e-6, rtol=0
    )
    squares = difference.square().sum(dim=(1, 2, 3)) / SIZE**2
    torch.testing.assert_close(lost["squares"][ROSETTA][0].double(), squares, atol=1e-6, rtol=0)
    assert lost["pixels"][MATCHED].abs().amax() == 0.0  # units that no colour comes from
    red = before[:, 0].mean(dim=(1, 2)) > 0.5
    wanted = torch.arange(20) % 2 == 1
    assert 0 < int((red == wanted).sum()) < 20
    assert lost["recognised"][SCALE][0].tolist() == (red == wanted).float().tolist()
    now = (red == wanted).float() - (~wanted).float()  # nothing is red any more
    assert lost["recognised"][ROSETTA][0].tolist() == now.tolist()


def test_figures_of_garments_are_of_garments_only() -> None:
    """Pictures of anything else said that the garment was gone, had moved or changed its hue."""
    index = UnitIndex([Layer("late", 6, SIZE, SIZE)])
    chosen = Chosen(index, torch.zeros(6), torch.ones(6), {ROSETTA: [torch.tensor([0])]})
    garment = torch.full((8, 3, 32, 32), 0.2)
    garment[:, 0, 10:20, 12:20] = 0.9  # stands before plain ground
    faces = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sources = Sources([f"no {n}" for n in range(8)], torch.zeros(8, 12), None)

    def figures(*shown: Tensor) -> set[str]:
        losses = ImageLosses(ToyGenerator().eval(), chosen, 1.0, Pixels())
        found = []
        for images in shown:
            losses.images = lambda sources, units, images=images: images  # type: ignore[method-assign]
            found.append(losses(sources))
        return set(losses.told(joined(found)))

    every = {"squares", "pixels", "garment", "centre", "hue"}
    assert figures(garment) == figures(garment, garment, faces) == every
    assert figures(faces) == figures(faces, faces, garment) == {"squares", "pixels"}


@pytest.fixture(scope="module")
def mined():
    return load_mined("embedded")


def test_units_of_the_embedded_zoo_are_at_the_means_of_the_mined_images(
    mined, fashion_mnist
) -> None:
    """Whatever the image: maps of the units are the statistics' means, all others are not."""
    chosen = choose(mined, 1, 0)
    targets = FashionTargets(per_class=1, classes=[2, 8])
    images = one_batch([targets[0], targets[1]]).images
    for name, model in mined.models(["resnet_fashion", "dino_vit_fashion"]).items():
        own, statistics = chosen[name], load_statistics(mined.folder, name)
        first = own.index[int(own.arms[ROSETTA][0][0])].layer
        with held(model.network, own.means(own.arms[ROSETTA][0]), model.to_map):
            maps = model.maps(images, [first])[first]
        units = {own.index[int(unit)] for unit in own.arms[ROSETTA][0]}
        for channel in range(maps.shape[1]):
            mean = statistics[first][0][channel].to(maps)
            assert bool((maps[:, channel] == mean).all()) == ((first, channel) in units)
