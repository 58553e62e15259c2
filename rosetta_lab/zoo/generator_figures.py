"""Figures of the embedded generators, judged by a network that took no part in their training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rosetta_lab.data.fashion.scenes import FashionScenes
from rosetta_lab.data.latents import Latents
from rosetta_lab.functional.generative import frechet_distance, precision_recall, spread
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.zoo.figures import BATCH, accuracy, outputs

NEIGHBOURHOOD = 5_000  # samples for precision and recall, whose cost grows with the square


class ClassJudge:
    """A classifier's pooled features and logits of images.

    Args:
        model: whose network is a timm model with a class head.
    """

    def __init__(self, model: DiscriminativeModel) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to features and, after them, logits (N, F + classes)."""
        network: Any = self.model.network
        maps = network.forward_features(self.model.preprocess(images))
        features = network.forward_head(maps, pre_logits=True)
        return torch.cat([features, network.get_classifier()(features)], dim=1)


@torch.no_grad()
def judge_samples(
    generator: Generator, judge: ClassJudge, samples: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The judge's outputs for class-conditional samples, as many of each class, and their classes.

    Latents come from the stream ``seed``, without truncation.
    """
    latents = Latents(samples, seed, generator.z_dim, generator.num_classes)
    rows, labels = [], []
    for start in range(0, samples, BATCH):
        batch = latents.batch(range(start, min(start + BATCH, samples)))
        assert batch.label is not None
        images = generator(batch.z, generator.one_hot(batch.label))
        rows.append(judge(generator.to_unit_range(images)))
        labels.append(batch.label)
    return torch.cat(rows), torch.cat(labels)


def generator_figures(
    generator: Generator,
    model: DiscriminativeModel,
    test: FashionScenes,
    images: int,
    train: FashionScenes,
) -> dict[str, float]:
    """Class agreement, FID, precision, recall and diversity within the classes.

    Args:
        generator: class-conditional.
        model: the judge, a classifier that took no part in the generator's training.
        test: real scenes to compare with.
        images: how many of them, and of samples.
        train: other real scenes, for the floor: the FID of real against real.
    """
    judge = ClassJudge(model)
    fake, asked = judge_samples(generator, judge, images)
    real, labels, _ = outputs(judge, test, images)
    other, _, _ = outputs(judge, train, images)
    classes = generator.num_classes
    agreement = accuracy(fake[:, -classes:], asked)
    fake, real, other = (x[:, :-classes] for x in (fake, real, other))
    precision, recall = precision_recall(real[:NEIGHBOURHOOD], fake[:NEIGHBOURHOOD])
    ratios = [spread(fake[asked == c]) / spread(real[labels == c]) for c in range(classes)]
    return {
        "class_agreement": agreement,
        "fid": frechet_distance(real, fake),
        "fid_of_real_scenes": frechet_distance(real, other),
        "precision": precision,
        "recall": recall,
        "diversity_within_class": sum(ratios) / classes,
        "least_diversity_within_class": min(ratios),
    }
