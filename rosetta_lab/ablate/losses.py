"""What is lost, image by image, when units are set to their mean over the mined images.

In a model that looks at images: accuracy, where the images have labels and the model puts out the
logits of their classes, and how much of its output stays, by its direction. In the generator: how
far the image of the same latent is from the intact one, and what can be read from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.ablate.units import Chosen
from rosetta_lab.data.fashion.readings import hue_error, read_scenes
from rosetta_lab.invert.problem import TargetBatch
from rosetta_lab.invert.sources import Sources
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.models.recording import held

Losses = dict[str, dict[str, Tensor]]  # figure to arm to what each draw loses (draws, N)
SCALE = "scale"  # among the arms: what to read a figure by, such as the intact accuracy (1, N)
NOTHING = torch.tensor([], dtype=torch.long)  # numbers of no units
OF_SCENES = ("garment", "centre", "hue")  # read from what stands before plain ground


class ModelLosses:
    """What a model that looks at images loses.

    Args:
        model: intact.
        chosen: its units.
        classes: that labels tell apart; a model of as many puts out their logits.
    """

    def __init__(self, model: DiscriminativeModel, chosen: Chosen, classes: int = 0) -> None:
        self.model, self.chosen, self.classes = model, chosen, classes
        self.directions: Tensor | float = 0.0  # sum of the intact outputs' (D,)
        self.images = 0

    def output(self, images: Tensor, units: Tensor) -> Tensor:
        """Output (N, D) for images (N, 3, H, W), with units of these numbers at their means."""
        model = self.model
        with torch.no_grad(), held(model.network, self.chosen.means(units), model.to_map):
            output: Tensor = model(images).flatten(1)
        return output

    def __call__(self, batch: TargetBatch) -> Losses:
        """What is lost in a batch.

        Returns:
            ``similarity``: 1 - cosine of the output with the intact model's, in [0, 2]. Where
            labels are known, ``accuracy``: whether the right class is no longer the first (1), or
            has become it (-1).
        """
        images = batch.images.to(next(self.model.parameters()).device)
        intact = self.output(images, NOTHING)
        self.directions = self.directions + F.normalize(intact.double(), dim=1).sum(dim=0)
        self.images += len(images)
        labels = [label for label in batch.labels if label is not None]
        known = self.model.num_classes == self.classes > 0 and len(labels) == len(images)
        hits = recognised(intact, torch.tensor(labels)) if known else None

        def lost(units: Tensor) -> dict[str, Tensor]:
            output = self.output(images, units)
            found = {"similarity": 1.0 - F.cosine_similarity(output, intact, dim=1)}
            if hits is not None:
                found["accuracy"] = hits - recognised(output, torch.tensor(labels))
            return found

        return by_arm(self.chosen, lost, {} if hits is None else {"accuracy": hits})

    def between_images(self) -> Tensor:
        """1 - cosine of the intact model's outputs for two of the images, mean over all pairs.

        It is what ``similarity`` would be if an output became another image's.
        """
        square = torch.as_tensor(self.directions).square().sum()
        return 1.0 - (square - self.images) / (self.images * (self.images - 1))


class ImageLosses:
    """What the images of a generator lose.

    Args:
        generator: intact.
        chosen: its units.
        psi: truncation.
        distance: between images; its figure has its name.
        classifier: with the logits of the generator's classes; None for no figure of it.

    Attributes:
        scenes: how many intact images show something before plain ground, as garments stand.
        seen: of so many.
    """

    def __init__(
        self,
        generator: Generator,
        chosen: Chosen,
        psi: float,
        distance: Perceptual,
        classifier: DiscriminativeModel | None = None,
    ) -> None:
        self.generator, self.chosen, self.psi = generator, chosen, psi
        self.distance, self.classifier = distance, classifier
        self.scenes = self.seen = 0

    def images(self, sources: Sources, units: Tensor) -> Tensor:
        """Images (N, 3, R, R) in [0, 1], with units of these numbers at their means."""
        generator = self.generator
        with torch.no_grad(), held(generator, self.chosen.means(units), generator.align):
            return generator.to_unit_range(generator(sources.latent, sources.c, self.psi))

    @torch.no_grad()
    def __call__(self, sources: Sources) -> Losses:
        """What is lost in a batch.

        Returns:
            The ``distance`` from the intact image; ``pixels``: mean absolute difference;
            ``recognised``: whether the classifier no longer sees the class that was asked for (1),
            or only does so now (-1); ``garment``: whether nothing stands before the background any
            more (1); ``centre``: how far the middle of what does has moved, as a fraction of the
            picture; ``hue``: by how many degrees its colour has changed. NaN where there is nothing
            to read.
        """
        before = self.images(sources, NOTHING)
        read, embedded = read_scenes(before), self.distance.embed(before)
        hits = self._recognised(before, sources)
        self.scenes += int(read.whole.sum())
        self.seen += len(before)

        def lost(units: Tensor) -> dict[str, Tensor]:
            after = self.images(sources, units)
            again = read_scenes(after)
            found = {
                self.distance.name: self.distance.distance(self.distance.embed(after), embedded),
                "pixels": (after - before).abs().mean(dim=(1, 2, 3)),
            }
            if (still := self._recognised(after, sources)) is not None and hits is not None:
                found["recognised"] = hits - still
            found["garment"] = (read.area > 0).float() - (again.area > 0).float()
            found["centre"] = (again.centre - read.centre).norm(dim=1)
            found["hue"] = hue_error(again.hue, read.hue)
            return found

        return by_arm(self.chosen, lost, {} if hits is None else {"recognised": hits})

    def told(self, losses: Losses) -> Losses:
        """Those losses that tell something: of faces, say, no garment could be gone."""
        if 2 * self.scenes >= self.seen:
            return losses
        return {figure: arms for figure, arms in losses.items() if figure not in OF_SCENES}

    def _recognised(self, images: Tensor, sources: Sources) -> Tensor | None:
        if self.classifier is None or sources.c is None:
            return None
        return recognised(self.classifier(images), sources.c.argmax(dim=1))


def recognised(logits: Tensor, labels: Tensor) -> Tensor:
    """1 where the class of a label has the highest logit, else 0: (N, C) and (N,) to (N,)."""
    return (logits.argmax(dim=1) == labels.to(logits.device)).float()


def by_arm(
    chosen: Chosen, lost: Callable[[Tensor], dict[str, Tensor]], intact: dict[str, Tensor]
) -> Losses:
    """Figures (N,) of every draw of units, and those of the intact network as their scale."""
    found: Losses = {}
    for arm, draws in chosen.arms.items():
        rows = [lost(units) for units in draws]
        for figure in rows[0]:
            found.setdefault(figure, {})[arm] = torch.stack([row[figure].cpu() for row in rows])
    for figure, values in intact.items():
        found[figure][SCALE] = values.cpu()[None]
    return found


def joined(batches: Sequence[Losses]) -> Losses:
    """The losses of several batches as those of one; a figure of those that have it."""
    figures = dict.fromkeys(figure for batch in batches for figure in batch)
    return {
        figure: {
            arm: torch.cat([batch[figure][arm] for batch in batches if figure in batch], dim=1)
            for arm in next(batch[figure] for batch in batches if figure in batch)
        }
        for figure in figures
    }
