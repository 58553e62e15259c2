"""Editing images from Python (paper, section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rosetta_lab.api.dictionary import Dictionary
from rosetta_lab.api.images import gallery
from rosetta_lab.api.inversion import HOW, Inversions
from rosetta_lab.api.options import configured
from rosetta_lab.edit.arms import own_images, run_arm
from rosetta_lab.edit.edits import Composed, Edit
from rosetta_lab.edit.setup import agreement_of, chosen_units, control, filled_in, pose, space_of
from rosetta_lab.invert.latent_code import Space
from rosetta_lab.invert.sources import Sources, from_seeds
from rosetta_lab.invert.units import target_units

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTROL = "random units"


@dataclass
class Edited:
    """Edited images.

    Attributes:
        before: the images (N, 3, R, R) in [0, 1], as the generator makes them.
        images: the edited ones, likewise.
        latents: of these (N, ...), in ``space``.
        space: z, w or w+.
        control: the same edit of as many units that nothing has matched; None if left out.
        figures: by image, how well its target maps are met, ``agreement_before`` and ``agreement``.
    """

    before: Tensor
    images: Tensor
    latents: Tensor
    space: Space
    control: Tensor | None
    figures: list[dict[str, float]]

    def show(self) -> Figure:
        """A figure: before, edited, and the control."""
        columns = {"before": self.before, "edited": self.images}
        if self.control is not None:
            columns[CONTROL] = self.control
        return gallery(columns)

    def __repr__(self) -> str:
        gain = [row["agreement"] - row["agreement_before"] for row in self.figures]
        return f"{len(gain)} edits, agreement {sum(gain) / max(1, len(gain)):+.3f} on average"


def edit(
    what: Inversions | Dictionary,
    edits: Edit | Sequence[Edit],
    *,
    seeds: Sequence[int] = (0, 1, 2, 3),
    progress: bool = False,
    **options: Any,
) -> Edited:
    """Edit images through their Rosetta units' target maps, and optimise their latents anew.

    Args:
        what: inverted images, or a dictionary, whose generator then makes some.
        edits: such as ``Shift(dx=0.25)``, or several at once.
        seeds: of generated images.
        progress: show a bar over the steps.
        options: keys of ``python -m rosetta_lab.edit``, such as ``steps=200``, ``concepts=[0]``,
            ``controls=False``.

    Raises:
        RosettaError: there is no such key, or the dictionary has no generator.
    """
    dictionary = what if isinstance(what, Dictionary) else what.dictionary
    change = edits if isinstance(edits, Edit) else Composed(list(edits))
    mined = dictionary.mined
    cfg = filled_in(configured("edit", **{"dictionary": dictionary.folder, **options}), mined)
    if isinstance(what, Inversions):
        c, space = what.class_weights, what.space
        ids = [f"{number:05d}" for number in range(len(what.latents))]
        c = None if c is None else c.to(mined.device)
        sources = Sources(ids, what.latents.to(mined.device), c, what.targets.to(mined.device))
    else:
        space = cfg.space or space_of(change)
        label = mined.class_number(cfg.latent.label)
        sources = from_seeds(mined.generator, list(seeds), label, space, **mined.prior(cfg.psi))
    how = agreement_of(cfg, change)
    edited, kept = chosen_units(cfg, mined)
    others = target_units(cfg, mined, kept, how)
    editing = pose(cfg, mined, change, space, target_units(cfg, mined, edited, how), others)
    steps = {**{key: cfg[key] for key in HOW}, "progress": progress}
    before = own_images(editing, sources)
    arm = run_arm(editing, sources, 0, **steps)
    beside = None
    if cfg.controls:
        random = pose(cfg, mined, change, space, *control(cfg, mined, edited, kept, how))
        beside = run_arm(random, sources, 0, **steps).images.cpu()
    latents = arm.latent if arm.latent is not None else torch.empty(0)
    return Edited(before.cpu(), arm.images.cpu(), latents.cpu(), space, beside, arm.figures)
