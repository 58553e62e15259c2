"""What inversions came to, in files that appear whole or not at all."""

from __future__ import annotations

import json
import logging
import math
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from rosetta_lab.data.images import write_image
from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import atomic_write, load_tensors, save_tensors
from rosetta_lab.invert.latent_files import LATENT, RESULTS
from rosetta_lab.invert.optimise import STILL, Inverted
from rosetta_lab.invert.problem import TargetBatch
from rosetta_lab.run.configs import same_results
from rosetta_lab.run.foreign import LARGEST_YAML, read_json, read_text

log = logging.getLogger("rosetta_lab")
MOST_FIGURES, LONGEST_NAME, LARGEST = 200, 200, 1e300  # of a result; the last of a figure
RESULT, IMAGE = "result.json", "inverted.png"
FAILURES = "failures"  # RUN/failures/ID.txt says why an image has no result
TARGET, START, SETTINGS = "target.png", "start.png", "settings.yaml"
TUNED_IMAGE = "tuned.png"  # what pivotal tuning made of it
READINGS = ("centre_error", "scale_error", "hue_error")  # in some images there is nothing to read
DIVERGED = "the optimisation diverged: choose a smaller lr= or beta="


def read_record(path: Path, name: str) -> dict[str, Any]:
    """The figures of the image ``name``, which anybody may have written.

    Raises:
        RosettaError: it is something else.
    """
    record = read_json(path)
    if not (
        isinstance(record, dict)
        and record.get("id") == name
        and type(record.get("label")) in (int, type(None))
        and len(record) <= MOST_FIGURES
        and all(
            type(value) in (int, float) and abs(value) < LARGEST and len(figure) <= LONGEST_NAME
            for figure, value in record.items()
            if figure not in ("id", "label")
        )
    ):
        raise RosettaError(
            f"{path}: this is no result of inverting '{printable(name)}'.\n"
            "Remove its folder and resume the run, which makes it anew."
        )
    return record


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
        return read_record(self.root / name / RESULT, name)

    def failure(self, name: str) -> str:
        """Why an image has no result, as the process noted that tried."""
        note = self._failure(name)
        return printable(read_text(note)) if note.is_file() else "it was not tried"

    def _failure(self, name: str) -> Path:
        return self.folder / FAILURES / f"{name}.txt"

    def _fail(self, name: str, reason: str) -> None:
        log.error("%s: %s", name, reason)
        atomic_write(self._failure(name), reason.encode())

    def curves(self, name: str) -> dict[str, Tensor]:
        """The course of every part of an image's loss (steps,)."""
        stored, _ = load_tensors(self.root / name / LATENT)
        return {k.removeprefix("curve/"): v for k, v in stored.items() if k.startswith("curve/")}

    def write(
        self,
        batch: TargetBatch,
        result: Inverted,
        figures: Sequence[Mapping[str, float]],
        places: Iterable[int] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Write images' results that are not there yet, where there is one.

        There is none where numbers are not finite, or the image is the one that it began with.

        Args:
            batch: the targets.
            result: what became of them.
            figures: of every image. Readings of the image may be NaN, and are left out then.
            places: of the images in the batch; None for all.
            notes: to write beside the latents, see
                :func:`rosetta_lab.invert.latent_files.metadata`.
        """
        still = result.still
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
                self._fail(name, DIVERGED)
                continue
            if still[place]:
                self._fail(name, STILL)
                continue
            tensors |= {f"curve/{part}": curve[place] for part, curve in result.curves.items()}
            record = {"id": name, "label": batch.labels[place], **values}
            with self._new(name) as folder:
                save_tensors(folder / LATENT, tensors, notes)
                write_image(result.images[place], folder / IMAGE)
                write_image(batch.images[place], folder / TARGET)
                if result.starts is not None:
                    write_image(result.starts[place], folder / START)
                text = json.dumps(record, indent=1, allow_nan=False) + "\n"
                (folder / RESULT).write_text(text)
                for extra in extras:
                    extra(folder)
            self._failure(name).unlink(missing_ok=True)

    @contextmanager
    def _new(self, name: str) -> Iterator[Path]:
        """A folder for an image's result, which is put into its place once it is whole."""
        folder = self.root / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".new_{secrets.token_hex(4)}")
        temporary.mkdir()
        try:
            yield temporary
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted removal left
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def add(
        self, name: str, file: str, tensors: Mapping[str, Tensor], picture: str, image: Tensor
    ) -> None:
        """Have tensors and a picture (3, R, R) written beside an image's result, with it."""
        ready = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        self._extras.setdefault(name, []).extend(
            (lambda at: save_tensors(at / file, ready), lambda at: write_image(image, at / picture))
        )

    def claim(self, settings: str) -> None:
        """Note the settings of a run, in YAML; where some are noted, the results must be the same.

        Raises:
            RosettaError: the folder holds results of other settings.
        """
        note = self.folder / SETTINGS
        others = note.is_file() and not same_results(read_text(note, LARGEST_YAML), settings)
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
