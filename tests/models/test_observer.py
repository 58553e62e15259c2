"""What a source shows, who looks at it, and whose units the others are compared with."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from toy import ToyGenerator, ToyModel

from rosetta_lab.data.latents import Latents
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.sums import Seen, Sums, groups_of
from rosetta_lab.models.observer import GeneratedImages, Observer

LATENTS = Latents(10, 0, 12, num_classes=3)
LAYERS = ["fold", "late"]


def observer(reference: str | None = None, psi: float = 1.0, **models: ToyModel) -> Observer:
    source = GeneratedImages(ToyGenerator(num_classes=3), LAYERS, "toy", psi)
    return Observer(source, models or {"a": ToyModel(), "b": ToyModel(5, seed=2)}, reference)


def test_everybody_sees_the_images_of_the_source() -> None:
    watch = observer(psi=0.5)
    batch = LATENTS.batch([4, 7])
    seen = watch(batch)
    generator = watch.source.generator
    images = generator(batch.z, torch.eye(3)[[1, 1]], psi=0.5)
    assert torch.equal(seen.images, images)
    assert not torch.equal(seen.images, observer()(batch).images)
    assert torch.equal(seen.maps["toy"]["late"][:, :3], images)
    for name in ("a", "b"):
        model = watch.networks[name]
        assert torch.equal(seen.maps[name]["copy"], model.preprocess(images))
    shapes = watch.shapes(seen)
    assert [x.name for x in shapes["toy"]] == LAYERS == watch.layers["toy"]
    assert [(x.channels, x.size) for x in shapes["b"]] == [(3, (5, 5)), (5, (2, 2))]


def test_maps_are_taken_as_they_appear() -> None:
    watch = observer()
    batch = LATENTS.batch([0, 1])
    order: list[tuple[str, str]] = []

    def take(model: str, layer: str, maps: torch.Tensor) -> float:
        order.append((model, layer))
        return float(maps.sum())

    expected = watch(batch).maps
    sums = watch(batch, take).maps
    assert order == [(name, layer) for name in ("toy", "a", "b") for layer in watch.layers[name]]
    for name, layers in expected.items():
        assert sums[name] == {layer: float(maps.sum()) for layer, maps in layers.items()}


def tables(watch: Observer) -> dict[str, torch.Tensor]:
    """Correlations of the reference's units with those of every model."""
    batch = LATENTS.batch(list(range(10)))
    groups = groups_of(watch.shapes(watch(batch)))
    none = Evidence("none")
    sums = Sums(groups, watch.reference, none, none.grouping(10, 3, groups))
    seen = Seen(sums, len(batch))
    for part in batch.split(4):
        sums.look(partial(watch, part), len(part), seen)
    sums.add(seen)
    return {name: table.r() for name, table in sums.tables.items()}


def test_any_model_may_be_the_reference() -> None:
    """The tables are the same, seen from another side."""
    watch = observer(reference="b")
    assert list(watch.networks) == list(watch.layers) == ["b", "toy", "a"]
    assert watch.others == ["toy", "a"]
    assert list(watch.shapes(watch(LATENTS.batch([0])))) == ["b", "toy", "a"]
    theirs, ours = tables(observer()), tables(watch)
    # Without a shift, float32 products are good for no more.
    torch.testing.assert_close(ours["toy"], theirs["b"].t(), atol=1e-4, rtol=0)
    assert ours["a"].shape == (8, 8) and not torch.allclose(ours["a"], ours["b"], atol=0.1)
    assert torch.equal(ours["b"], ours["b"].t()) and ours["b"].diagonal().max() > 0.999
    assert observer().reference == "toy" and observer().others == ["a", "b"]


def test_mistakes() -> None:
    with pytest.raises(RosettaError, match="disc=\\[\\]"):
        Observer(GeneratedImages(ToyGenerator(), LAYERS), {})
    with pytest.raises(RosettaError, match="'toy' is the name of two models"):
        observer(toy=ToyModel())
    with pytest.raises(RosettaError, match=r"reference=c: .*\nChoose from toy, a, b"):
        observer(reference="c")
    with pytest.raises(RosettaError, match=r"toy: no layer matches 'blocks\.\*'"):
        GeneratedImages(ToyGenerator(), ["blocks.*"], "toy")


def test_batches_in_parts() -> None:
    batch = LATENTS.batch([3, 1, 4, 0, 2])
    parts = list(batch.split(2))
    assert [len(part) for part in parts] == [2, 2, 1] and len(batch) == 5
    for name in ("index", "z", "label"):
        assert torch.equal(torch.cat([getattr(x, name) for x in parts]), getattr(batch, name))
    assert [x.label for x in Latents(3, 0, 4).batch([0, 1, 2]).split(2)] == [None, None]
