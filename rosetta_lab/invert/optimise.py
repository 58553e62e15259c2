"""The optimisation behind inversions, edits and visualisations (paper, Eq. 5): Adam on latents.

code, objective = inversion(batch)
found = optimise((code, objective), steps=500, lr=0.1)
found.images, found.latent, found.curves["total"]
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.schedule import ramp
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.objective import Evaluation

log = logging.getLogger("rosetta_lab")
STILL = "the loss has no gradient where it starts; choose another start= or seed="
Problem = tuple[LatentCode, Callable[[LatentCode], Evaluation]]  # latents, and what to minimise
Listener = Callable[[int, Evaluation], None]  # is told the step's number, and what it evaluated


@dataclass
class Inverted:
    """What became of a batch of images.

    Attributes:
        images: (N, 3, R, R) in [0, 1].
        latent: (N, ...), in the space of the code.
        class_weights: (N, classes) or None.
        curves: part of the loss to its course (N, steps), unweighted; ``total`` is weighted.
        starts: the images of the latents that the optimisation began with, as ``images``.
    """

    images: Tensor
    latent: Tensor
    class_weights: Tensor | None
    curves: dict[str, Tensor]
    starts: Tensor | None = None

    @property
    def still(self) -> list[bool]:
        """By image, whether it is to the last digit what the optimisation began with."""
        if self.starts is None:
            return [False] * len(self.images)
        return [bool(torch.equal(*both)) for both in zip(self.images, self.starts, strict=True)]


@torch.inference_mode(False)
@torch.enable_grad()
def optimise(
    problem: Problem,
    steps: int = 500,
    lr: float = 0.1,
    rampup: float = 0.05,
    rampdown: float = 0.25,
    *,
    listeners: Sequence[Listener] = (),
    progress: bool = False,
    title: str | None = None,
) -> Inverted:
    """Optimise the latents of a batch of images, which become the result.

    The images do not influence each other: the loss is summed over them, and Adam works element by
    element, so a batch gives what single runs give. Where there is no gradient to speak of, Adam
    scales rounding errors up to steps of the learning rate: a latent that is right already moves
    by about ``lr`` and comes back as the learning rate falls. Where there is none at all, nothing
    moves, which is said.

    Args:
        problem: latents and an objective; made outside of PyTorch's inference mode.
        steps: of Adam.
        lr: the schedule's peak, see :func:`rosetta_lab.functional.schedule.ramp`.
        rampup: share of the steps in which the learning rate rises.
        rampdown: share of the steps in which it falls.
        listeners: called after every step.
        progress: show a progress bar over the steps.
        title: of the progress bar.
    """
    code, _ = problem
    with torch.no_grad():
        starts = code.images().clamp(0.0, 1.0)
    curves: dict[str, list[Tensor]] = {}
    walk = descend(problem, steps, lr, rampup, rampdown)
    bar = tqdm(walk, title, steps, unit="step", leave=False, disable=not progress)
    due = 0.0
    for step, evaluation in enumerate(bar):
        parts = losses(evaluation)
        for name, loss in parts.items():
            curves.setdefault(name, []).append(loss)
        for listener in listeners:
            listener(step, evaluation)
        if progress and time.monotonic() >= due:  # reading a loss waits for the device
            bar.set_postfix({name: f"{float(loss.mean()):.3f}" for name, loss in parts.items()})
            due = time.monotonic() + bar.mininterval
    weights = code.class_weights
    with torch.no_grad():
        images = code.images().clamp(0.0, 1.0)
    found = Inverted(
        images=images,
        latent=code.value.detach(),
        class_weights=None if weights is None else weights.detach(),
        curves={name: torch.stack(course, dim=1) for name, course in curves.items()},
        starts=starts,
    )
    if any(found.still):
        log.warning("%d of %d images did not change at all: %s", sum(found.still), len(code), STILL)
    return found


def descend(
    problem: Problem, steps: int, lr: float, rampup: float = 0.05, rampdown: float = 0.25
) -> Iterator[Evaluation]:
    """The steps of :func:`optimise`, one at a time: what was evaluated before each of them.

    Whoever takes them has to have gradients enabled.

    Raises:
        RosettaError: no part of the loss depends on the latents.
    """
    code, objective = problem
    optimizer = torch.optim.Adam(code.parameters(), lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: ramp((step + 0.5) / steps, rampup, rampdown)
    )
    for _ in range(steps):
        evaluation = objective(code)
        if not evaluation.total.requires_grad:
            raise RosettaError(
                "loss: every part has the weight 0, so there is nothing to minimise.\n"
                "Give one a weight, such as loss.l2=1 or beta=1."
            )
        code.zero_grad()
        evaluation.total.sum().backward()
        optimizer.step()
        yield evaluation
        schedule.step()


def losses(evaluation: Evaluation) -> dict[str, Tensor]:
    """Every part of the loss, unweighted, and their weighted ``total`` (N,), without gradients."""
    every = evaluation.parts | {"total": evaluation.total}
    return {name: loss.detach() for name, loss in every.items()}
