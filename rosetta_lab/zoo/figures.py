"""Figures of the embedded discriminative models on the test garments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.data.fashion.captions import colour_names
from rosetta_lab.data.fashion.scenes import FashionScenes, Scenes
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.units import resolve_layers
from rosetta_lab.zoo.clip import zero_shot_weights

BATCH = 250


def batches(dataset: FashionScenes, images: int) -> Iterator[Scenes]:
    """The first ``images`` scenes of a data set, in batches."""
    for start in range(0, images, BATCH):
        yield dataset.scenes(range(start, min(start + BATCH, images)))


@torch.no_grad()
def outputs(
    function: Callable[[Tensor], Tensor], dataset: FashionScenes, images: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``function`` makes of the images, with the true classes and hues, all (images, ...)."""
    rows = [(function(s.image), s.label, s.hue) for s in batches(dataset, images)]
    outputs, labels, hues = zip(*rows, strict=True)
    return torch.cat(outputs), torch.cat(labels), torch.cat(hues)


def accuracy(scores: Tensor, truth: Tensor) -> float:
    """Share of rows of (N, classes) whose largest entry is at the true index."""
    return float((scores.argmax(dim=1) == truth).float().mean())


def class_accuracy(
    model: DiscriminativeModel, test: FashionScenes, images: int
) -> dict[str, float]:
    """Accuracy of a model whose outputs are class logits."""
    logits, labels, _ = outputs(model, test, images)
    return {"class_accuracy": accuracy(logits, labels)}


def zero_shot(model: DiscriminativeModel, test: FashionScenes, images: int) -> dict[str, float]:
    """Zero-shot accuracy for the class and for the name of the colour, by text prompts alone."""
    embeddings, labels, hues = outputs(model, test, images)
    network = model.network
    return {
        "zero_shot_class": accuracy(embeddings @ zero_shot_weights(network, "garment").T, labels),
        "zero_shot_colour": accuracy(
            embeddings @ zero_shot_weights(network, "colour").T, colour_names(hues)
        ),
    }


class Pooled:
    """Frozen features: mean and maximum over positions of every unit, and the model's output.

    Args:
        model: whose ``layers`` name the units.
    """

    def __init__(self, model: DiscriminativeModel) -> None:
        self.model = model
        self.layers = resolve_layers(model.network, model.layers, "linear probe")

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to features (N, 2 * units + outputs)."""
        output, pooled = self.model.output_and_maps(images, self.layers, pool)
        return torch.cat([*pooled.values(), output], dim=1)


def pool(layer: str, maps: Tensor) -> Tensor:
    """Mean and maximum over positions: (N, C, H, W) to (N, 2 * C)."""
    return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


def fit_linear_probe(
    features: Tensor, labels: Tensor, classes: int, epochs: int = 30, seed: int = 0
) -> torch.nn.Linear:
    """Multinomial logistic regression by AdamW.

    Args:
        features: standardised (N, F).
        labels: (N,).
        classes: how many there are.
        epochs: passes over the features.
        seed: of their order.
    """
    order = torch.Generator().manual_seed(seed)
    probe = torch.nn.Linear(features.shape[1], classes)
    torch.nn.init.zeros_(probe.weight)
    torch.nn.init.zeros_(probe.bias)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(features), generator=order).split(256):
            loss = F.cross_entropy(probe(features[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return probe


def linear_probe(
    model: DiscriminativeModel,
    test: FashionScenes,
    images: int,
    train: FashionScenes,
    train_images: int = 60_000,
) -> dict[str, float]:
    """Class accuracy of a logistic regression on :class:`Pooled` features of the frozen model."""
    pooled = Pooled(model)
    features, labels, _ = outputs(pooled, train, train_images)
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    features.sub_(mean).div_(std)
    probe = fit_linear_probe(features, labels, int(train.labels.max()) + 1)
    held_out, truth, _ = outputs(lambda x: (pooled(x) - mean) / std, test, images)
    with torch.no_grad():
        return {"linear_probe": accuracy(probe(held_out), truth)}
