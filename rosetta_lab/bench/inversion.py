"""The cost of an inversion's step, by its parts, and of images one at a time against a batch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig

from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.objective import Evaluation
from rosetta_lab.invert.optimise import descend
from rosetta_lab.invert.problem import Inversion, TargetBatch, TargetBatches
from rosetta_lab.invert.setup import load_inversion
from rosetta_lab.models.images import load_targets
from rosetta_lab.run.device import timed

WARM_UP = 2  # rounds that do not count
WHOLE, SINGLE = "whole step", "one image at a time"


@dataclass
class InversionBenchmark:
    """Seconds of a step for all images.

    Attributes:
        images: how many.
        asked: how many there should have been; the data may have fewer.
        pairs: matched pairs that are compared.
        threads: of the CPU.
        parts: what a step consists of, to its seconds.
        batch: a step of all images in one batch.
        single: the same one image at a time.
    """

    images: int
    asked: int
    pairs: int
    threads: int
    parts: dict[str, float]
    batch: float
    single: float

    def report(self) -> str:
        """A table for people."""
        fewer = f" (of {self.asked} asked for: there are no more)"
        count = f"{self.images} images{fewer if self.images < self.asked else ''}"
        lines = [
            f"{count}, {self.pairs:,} matched pairs, {self.threads} threads",
            f"{'':<28}{'ms/image/step':>14}{'share':>8}",
        ]
        for title, seconds in {**self.parts, WHOLE: self.batch}.items():
            cost, share = seconds / self.images * 1e3, seconds / self.batch
            lines.append(f"{title:<28}{cost:>14.2f}{share:>8.1%}")
        lines.append(
            f"One image at a time: {self.single / self.images * 1e3:.2f} ms/image/step; a batch is "
            f"{self.single / self.batch:.2f} times as fast."
        )
        return "\n".join(lines)


def seconds(
    steps: Mapping[str, Callable[[], object]], rounds: int, device: str
) -> dict[str, float]:
    """Median seconds of each step, taken in turns: what disturbs the machine disturbs all alike.

    The first ``WARM_UP`` rounds do not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(timed(step, device))
    return {name: statistics.median(times[WARM_UP:]) for name, times in taken.items()}


def run(cfg: DictConfig) -> InversionBenchmark:
    """Time what ``cfg`` describes."""
    device = "cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu"
    mined = load_mined(cfg.dictionary, device)
    cfg = mined.filled_in(cfg)
    inversion = load_inversion(cfg, mined)
    targets = load_targets(cfg, mined.generator.resolution)
    batch = TargetBatches(targets, cfg.batch_size)[0]
    singles = TargetBatches(targets, 1)
    count = len(batch.ids)

    loss = inversion.loss
    rounds = WARM_UP + cfg.steps
    steps: dict[str, Callable[[], object]] = {WHOLE: optimizer_step(inversion, batch, rounds)}
    for part in ("perceptual", "activation"):
        if loss[part]:
            inversion.loss = {**loss, part: 0.0}
            steps[part] = optimizer_step(inversion, batch, rounds)
    inversion.loss = loss
    alone = [optimizer_step(inversion, singles[place], rounds) for place in range(count)]

    def one_at_a_time() -> None:
        for step in alone:
            step()

    steps[SINGLE] = one_at_a_time
    taken = seconds(steps, rounds, device)
    whole, single = taken.pop(WHOLE), taken.pop(SINGLE)
    parts = {part: max(0.0, whole - without) for part, without in taken.items()}
    # Each is a difference of two measurements; together they are no more than the whole.
    share = whole / max(whole, sum(parts.values()))
    parts = {part: share * time for part, time in parts.items()}
    return InversionBenchmark(
        images=count,
        asked=cfg.batch_size,
        pairs=pairs_of(inversion, batch),
        threads=torch.get_num_threads(),
        parts={"generator and the rest": whole - sum(parts.values()), **parts},
        batch=whole,
        single=single,
    )


def optimizer_step(
    inversion: Inversion, batch: TargetBatch, steps: int
) -> Callable[[], Evaluation]:
    """A step of the optimisation for the images of a batch; their targets are computed now.

    The gradient of the images' own sum goes back through the generator, too: whatever part of the
    loss is left out, the generator's share stays the same. The latents do not move, lest they get
    to where arithmetic is slower.
    """
    code, objective = inversion(batch)

    def through_generator(code: LatentCode) -> Evaluation:
        evaluation = objective(code)
        return replace(evaluation, total=evaluation.total + evaluation.images.flatten(1).sum(dim=1))

    walk = descend((code, through_generator), steps, lr=0.0)
    return lambda: next(walk)


def pairs_of(inversion: Inversion, batch: TargetBatch) -> int:
    """Matched pairs that the activation loss compares."""
    agreement = inversion(batch)[1].agreement
    return 0 if agreement is None else agreement.pairs
