"""What inversions came to: figures, and files that appear whole or not at all."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio as psnr
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from rosetta_lab.data.readings import hue_error, read_scenes
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write
from rosetta_lab.inverting import TargetBatch
from rosetta_lab.latent_files import LATENT, RESULTS
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.modules.inversion import Inverted
from rosetta_lab.report.figures import BEFORE

log = logging.getLogger("rosetta_lab")
RESULT, IMAGE = "result.json", "inverted.png"
TARGET, START, SETTINGS = "target.png", "start.png", "settings.yaml"
TUNED_IMAGE = "tuned.png"  # what pivotal tuning made of it
PERFECT = 100.0  # dB; identical images have no finite PSNR
READINGS = ("centre_error", "scale_error", "hue_error")  # in some images there is nothing to read
DIVERGED = "the optimisation diverged: choose a smaller lr= or beta="


class Judge:
    """How near inverted images are to their targets.

    Args:
        distances: perceptual; their figures have their names.
        classifier: with the logits of the generator's classes; None for no figure of it.
    """

    def __init__(
        self, distances: Iterable[Perceptual], classifier: DiscriminativeModel | None = None
    ) -> None:
        self.distances = {distance.name: distance for distance in distances}
        self.classifier = classifier

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        targets: Tensor,
        truth: Sequence[Mapping[str, float]],
        starts: Tensor | None = None,
        class_weights: Tensor | None = None,
    ) -> list[dict[str, float]]:
        """Figures of every image.

        Args:
            images: (N, 3, R, R) in [0, 1].
            targets: (N, 3, R, R) in [0, 1].
            truth: see :func:`true_errors`.
            starts: what the optimisation began with (N, 3, R, R); None for the images themselves.
            class_weights: that the generator was given (N, classes); None without classes.

        Returns:
            ``psnr`` in dB, at most 100; ``ssim`` in [-1, 1]; every distance by its name;
            ``recognised``, 1 where the classifier sees the class that has the largest weight,
            else 0; and, where the truth is known, the errors of what is read from the image, and
            of the start.
        """
        decibels = psnr(images, targets, data_range=1.0, reduction="none", dim=(1, 2, 3))
        columns = {
            "psnr": decibels.clamp(max=PERFECT),
            "ssim": ssim(images, targets, data_range=1.0, reduction="none"),
        }
        columns |= {name: metric(images, targets) for name, metric in self.distances.items()}
        if self.classifier is not None and class_weights is not None:
            seen = self.classifier(images).argmax(dim=1)
            columns["recognised"] = (seen == class_weights.argmax(dim=1)).float()
        rows = [
            {name: float(values[place]) for name, values in columns.items()}
            for place in range(len(images))
        ]
        for place, (error, start) in enumerate(
            zip(true_errors(images, truth), true_errors(starts, truth), strict=True)
        ):
            rows[place] |= error | {f"{BEFORE}{name}": value for name, value in start.items()}
        return rows


def true_errors(
    images: Tensor | None, truth: Sequence[Mapping[str, float]]
) -> list[dict[str, float]]:
    """How far what is read from images is from the truth.

    Args:
        images: (N, 3, R, R) in [0, 1]; None for no errors at all.
        truth: of garment scenes: ``hue`` in degrees, ``centre_x``, ``centre_y`` and ``scale`` as
            fractions of the picture, as far as known.

    Returns:
        ``centre_error`` and ``scale_error``, fractions of the picture, ``hue_error`` in degrees;
        NaN where no garment was found in the image.
    """
    if images is None or not any(truth):
        return [{} for _ in truth]
    read, rows = read_scenes(images), []
    for place, true in enumerate(truth):
        row = {}
        if "centre_x" in true:
            centre = torch.tensor([true["centre_x"], true["centre_y"]]).to(read.centre)
            row["centre_error"] = float((read.centre[place] - centre).norm())
        if "scale" in true:
            row["scale_error"] = abs(float(read.scale[place]) - true["scale"])
        if "hue" in true:
            row["hue_error"] = float(hue_error(read.hue[place], torch.tensor(true["hue"])))
        rows.append(row)
    return rows


class Results:
    """A run's results: one folder per image, which appears whole or not at all.

    Args:
        folder: the run folder; results go to ``results/ID/`` inside it. No ID may be a folder of
            another (:func:`rosetta_lab.data.images.make_ids` makes such).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._extras: dict[str, list[Callable[[Path], None]]] = {}

    @property
    def root(self) -> Path:
        """Where the images' folders are."""
        return self.folder / RESULTS

    def done(self, name: str) -> bool:
        """Whether an image's result is there."""
        return (self.root / name / RESULT).is_file()

    def read(self, name: str) -> dict[str, Any]:
        """An image's figures."""
        record: dict[str, Any] = json.loads((self.root / name / RESULT).read_text())
        return record

    def curves(self, name: str) -> dict[str, Tensor]:
        """The course of every part of an image's loss (steps,)."""
        stored = load_file(self.root / name / LATENT)
        return {k.removeprefix("curve/"): v for k, v in stored.items() if k.startswith("curve/")}

    def write(
        self,
        batch: TargetBatch,
        result: Inverted,
        figures: Sequence[Mapping[str, float]],
        places: Iterable[int] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Write images' results that are not there yet, but for those whose numbers are not finite.

        Args:
            batch: the targets.
            result: what became of them.
            figures: of every image. Readings of the image may be NaN, and are left out then.
            places: of the images in the batch; None for all.
            notes: to write beside the latents, see :func:`rosetta_lab.latent_files.metadata`.
        """
        for place in range(len(batch.ids)) if places is None else places:
            name = batch.ids[place]
            extras = self._extras.pop(name, [])
            if self.done(name):
                continue
            tensors = {"latent": result.latent[place : place + 1]}
            if result.class_weights is not None:
                tensors["class_weights"] = result.class_weights[place : place + 1]
            values = {
                figure: value
                for figure, value in figures[place].items()
                if math.isfinite(value) or not figure.endswith(READINGS)
            }
            values |= {f"loss/{part}": float(c[place, -1]) for part, c in result.curves.items()}
            if not (
                all(map(math.isfinite, values.values()))
                and all(bool(tensor.isfinite().all()) for tensor in tensors.values())
            ):
                log.error("%s: %s", name, DIVERGED)
                continue
            tensors |= {f"curve/{part}": curve[place] for part, curve in result.curves.items()}
            record = {"id": name, "label": batch.labels[place], **values}
            folder = self.root / name
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new_"))
            temporary.chmod(0o755)
            ready = {key: value.cpu().contiguous() for key, value in tensors.items()}
            save_file(ready, temporary / LATENT, dict(notes or {}))
            save_png(result.images[place], temporary / IMAGE)
            save_png(batch.images[place], temporary / TARGET)
            if result.starts is not None:
                save_png(result.starts[place], temporary / START)
            (temporary / RESULT).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
            for extra in extras:
                extra(temporary)
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted removal left
            temporary.rename(folder)

    def add(
        self, name: str, file: str, tensors: Mapping[str, Tensor], picture: str, image: Tensor
    ) -> None:
        """Have tensors and a picture (3, R, R) written beside an image's result, with it."""
        ready = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        self._extras.setdefault(name, []).extend(
            (lambda at: save_file(ready, at / file), lambda at: save_png(image, at / picture))
        )

    def claim(self, settings: str) -> None:
        """Note what the results depend on, or compare with what was noted.

        Raises:
            RosettaError: the folder holds results of other settings.
        """
        note = self.folder / SETTINGS
        others = note.is_file() and note.read_text() != settings
        if others and any(self.root.rglob(RESULT)):
            raise RosettaError(
                f"{self.folder} holds results of other settings (see {SETTINGS} in it).\n"
                "Give the run another folder, or resume it with the same settings."
            )
        atomic_write(note, settings.encode())

    def clean(self) -> None:
        """Remove what an interrupted run left unfinished."""
        for leftover in self.root.rglob(".new_*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def records(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The figures of those images that are done, in order."""
        return (self.read(name) for name in names if self.done(name))


def save_png(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W) in [0, 1]."""
    pixels = (image.detach().cpu().clamp(0.0, 1.0) * 255.0).round().byte()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
