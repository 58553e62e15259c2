"""Running an edit and its controls, and what there is to say about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.edit.edits import Edit
from rosetta_lab.edit.figures import picture_figures, strength
from rosetta_lab.edit.problem import Editing
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write, save_tensors
from rosetta_lab.functional.agreement import standardize
from rosetta_lab.invert.figures import known
from rosetta_lab.invert.objective import Evaluation
from rosetta_lab.invert.optimise import Listener, optimise
from rosetta_lab.invert.sources import Sources
from rosetta_lab.invert.units import OwnUnits
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.recording import record, replaced

EPSILON = 1e-6


@dataclass
class EditArm:
    """One way to edit, and its outcome.

    Attributes:
        images: (N, 3, R, R) in [0, 1].
        latent: (N, ...), None where none was optimised.
        curves: part of the loss to its course (N, steps).
        frames: images on the way, each (N, 3, R, R) in [0, 1].
        figures: of every image.
    """

    images: Tensor
    latent: Tensor | None = None
    curves: dict[str, Tensor] = field(default_factory=dict)
    frames: list[Tensor] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)


@dataclass
class EditRun:
    """An edit of several images.

    Attributes:
        edit: what was asked.
        sources: the images' latents.
        before: the images (N, 3, R, R) in [0, 1].
        seen: whose maps were edited (N, 3, R, R), which figures are measured against: the images,
            or the pictures that they were inverted from.
        arms: ``rosetta`` and the controls, by name.
        maps: some edited units: name, and maps (N, h, w) before, asked for, and reached.
        notes: to write beside the latents, see :func:`rosetta_lab.invert.latent_files.metadata`.
    """

    edit: Edit
    sources: Sources
    before: Tensor
    seen: Tensor
    arms: dict[str, EditArm] = field(default_factory=dict)
    maps: list[tuple[str, Tensor, Tensor, Tensor]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def measure(self, classifier: DiscriminativeModel | None) -> None:
        """Add what can be seen in the pictures to every arm's figures."""
        for arm in self.arms.values():
            found = picture_figures(self.seen, arm.images, self.edit, classifier)
            arm.figures = [
                {**old, **new}
                for old, new in zip(arm.figures or [{}] * len(found), found, strict=True)
            ]

    def save(self, folder: Path) -> None:
        """Write latents, pictures and figures; every file appears whole or not at all."""
        for place, name in enumerate(self.sources.ids):
            own = folder / "results" / name
            own.mkdir(parents=True, exist_ok=True)
            write_image(self.before[place], own / "before.png")
            if self.sources.pictures is not None:
                write_image(self.sources.pictures[place], own / "picture.png")
            record: dict[str, Any] = {"id": name}
            for arm_name, arm in self.arms.items():
                write_image(arm.images[place], own / f"{arm_name.replace(' ', '_')}.png")
                record[arm_name] = known(arm.figures[place])
                if arm.latent is not None:
                    tensors = {"latent": arm.latent[place : place + 1]}
                    if self.sources.c is not None:
                        tensors["class_weights"] = self.sources.c[place : place + 1]
                    tensors |= {f"curve/{k}": v[place] for k, v in arm.curves.items()}
                    stem = "latent" if arm_name == "rosetta" else f"latent_{arm_name}"
                    file = own / f"{stem.replace(' ', '_')}.safetensors"
                    save_tensors(file, tensors, self.notes)
            atomic_write(own / "edit.json", (json.dumps(record, indent=1) + "\n").encode())


@torch.no_grad()
def own_images(editing: Editing, sources: Sources) -> Tensor:
    """The sources' images (N, 3, R, R) in [0, 1]."""
    return editing.code(sources).images().clamp(0.0, 1.0)


def run_arm(
    editing: Editing,
    sources: Sources,
    frames: int,
    listeners: Sequence[Listener] = (),
    **how: Any,
) -> EditArm:
    """Optimise the latents of an edit.

    Args:
        editing: poses the problem.
        sources: what to edit.
        frames: how many pictures to keep on the way, about.
        listeners: see :func:`rosetta_lab.invert.optimise.optimise`.
        how: ``steps``, ``lr`` and so on, likewise.
    """
    kept: list[Tensor] = []
    every = max(1, -(-int(how["steps"]) // frames)) if frames else 0

    def keep(step: int, evaluation: Evaluation) -> None:
        if every and step % every == 0:
            kept.append(evaluation.images.detach().clamp(0.0, 1.0))

    code, objective = editing(sources)
    found = optimise((code, objective), listeners=[keep, *listeners], **how)
    figures: list[dict[str, float]] = [{} for _ in sources.ids]
    for name, latent in (("agreement_before", sources.latent), ("agreement", found.latent)):
        with torch.no_grad():
            parts = objective(editing.code(replace(sources, latent=latent))).parts
        for place, row in enumerate(figures):
            row[name] = -float(parts["activation"][place])
    frames_kept = [*kept, found.images] if every else []
    return EditArm(found.images, found.latent, found.curves, frames_kept, figures)


@torch.no_grad()
def direct_arm(editing: Editing, sources: Sources) -> EditArm:
    """The same edit of the activations themselves, without optimising (the paper's Fig. 21 shows
    the artefacts).

    Maps with a margin around the image are edited with it.

    Args:
        editing: of the generator's own units.
        sources: what to edit.
    """
    assert isinstance(editing.edited, OwnUnits)
    generator, code = editing.generator, editing.code(sources)
    with record(generator, list(editing.edited.channels)) as raw:
        code.images()
    maps = {}
    pairs = zip(editing.edited.channels.items(), editing.floors, strict=True)
    for (layer, channels), floor in pairs:
        own = raw[layer][:, channels]
        mean, var = (x.to(own)[channels] for x in editing.edited.statistics[layer])
        margin = margin_of(layer, raw[layer], generator.align)
        new = editing.edit(standardize(own, mean, var), floor, margin)
        maps[layer] = (channels, new * var.sqrt()[:, None, None] + mean[:, None, None])
    with replaced(generator, maps):
        return EditArm(code.images().clamp(0.0, 1.0))


def margin_of(layer: str, maps: Tensor, align: Callable[[str, Tensor], Tensor]) -> int:
    """How many cells a layer's maps (N, C, H, W) have around the image, on every side.

    Args:
        layer: its name.
        maps: as the layer puts them out.
        align: layer and maps to those that cover the image.

    Raises:
        RosettaError: those are not the middle of what the layer puts out.
    """
    height, width = maps.shape[-2:]
    numbers = [torch.arange(n, device=maps.device, dtype=torch.float32) for n in (height, width)]
    places = torch.stack(torch.meshgrid(*numbers, indexing="ij"))[None]  # (1, 2, H, W)
    seen = align(layer, places)
    margin = int(seen[0, 0, 0, 0])
    if not torch.equal(seen, places[..., margin : height - margin, margin : width - margin]):
        raise RosettaError(
            f"Layer '{layer}': what it puts out cannot be edited, its maps are not a part of it.\n"
            "Choose other layers=, or controls=false."
        )
    return margin


@torch.no_grad()
def example_maps(
    editing: Editing, sources: Sources, arm: EditArm, limit: int = 6
) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Maps of some edited units, from every layer in turn: name, before, asked for, reached."""
    assert arm.latent is not None
    before, asked = editing.targets(sources)
    reached = editing.edited.targets(editing.code(replace(sources, latent=arm.latent)))
    examples: list[tuple[str, Tensor, Tensor, Tensor]] = []
    layers = {target.layer: place for place, target in enumerate(before)}
    for rank in range(limit):
        for layer, place in layers.items():
            channels = before[place].channels
            if rank < len(channels) and len(examples) < limit:
                name = f"{layer} · {int(channels[rank])}"
                old, new, got = (x[place].maps[:, rank] for x in (before, asked, reached))
                examples.append((name, old, new, got))
    return examples


class ConceptStrengths:
    """How strongly every concept of a dictionary fires, by the generator's units.

    Args:
        dictionary: with the concepts.
        make: makes units of their numbers.
        reference: latents that show how low every unit gets.
        editing: knows the space of the latents.
    """

    def __init__(
        self,
        dictionary: RosettaDictionary,
        make: Callable[[Tensor], OwnUnits],
        reference: Sources,
        editing: Editing,
    ) -> None:
        number = dictionary.reference.units.number
        self.units = [
            make(torch.tensor([number(dictionary.neurons[n].unit) for n in concept.neurons]))
            for concept in dictionary.concepts
        ]
        code = editing.code(reference)
        self.floors = [
            [t.maps.amin(dim=(0, 2, 3)) for t in units.targets(code)] for units in self.units
        ]
        self.editing = editing

    def __call__(self, sources: Sources) -> Tensor:
        """Strength of every concept (N, concepts), at least about 0."""
        code = self.editing.code(sources)
        pairs = zip(self.units, self.floors, strict=True)
        return torch.stack([strength(u.targets(code), f) for u, f in pairs], dim=1)

    def selectivity(
        self, before: Sources, after: Tensor, edited: list[int]
    ) -> list[dict[str, float]]:
        """How much the edited concepts changed, and the others.

        Args:
            before: the sources.
            after: latents (N, ...).
            edited: numbers of the edited concepts.

        Returns:
            ``concept_change``, the relative change of the edited concepts' mean strength, and
            ``others_change``, the mean over the other concepts of the size of theirs.
        """
        old, new = self(before), self(replace(before, latent=after))
        change = (new - old) / old.clamp(min=EPSILON)  # (N, concepts)
        chosen = torch.zeros(old.shape[1], dtype=torch.bool)
        chosen[edited] = True
        return [
            {
                "concept_change": float(row[chosen].mean()),
                "others_change": float(row[~chosen].abs().mean()),
            }
            for row in change
        ]
