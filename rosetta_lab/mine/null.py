"""What a run holds its matches against: other images, and parts of its own images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.errors import RosettaError, check_choice, check_count
from rosetta_lab.functional.null import group_size
from rosetta_lab.metrics.activations import UnitGroups
from rosetta_lab.metrics.matching import Criterion

Kind = Literal["shuffled", "within_class", "none"]
Control = Literal["shuffled", "untrained"]
KEPT = 32  # neighbours of every unit, so that a sweep over K runs the networks once
FEW_UNITS, FEW_IMAGES = 400, 1000  # below, one draw of decoys is too few, or too noisy
BLOCK_BYTES, MOST_BLOCKS, FEWEST_IMAGES = 2**30, 20, 50  # of sums kept apart; images of a block
SPLITS = 3  # of the blocks into halves


@dataclass(frozen=True)
class Evidence:
    """What a run holds its matches against, and what it keeps of them.

    Attributes:
        null: ``shuffled`` images, those of the same class (``within_class``), or ``none``.
        draws: how many other images each image is paired with; None for three where images are few,
            or a model's units and therefore matches are, else one.
        blocks: parts of the images whose sums are kept apart, to see how matches return; None for
            as many as fit into ``BLOCK_BYTES``, up to ``MOST_BLOCKS``; 1 for none.
        criterion: similarity that neighbours are found by: ``r`` (paper) or ``centred``.
        neighbours: how many are kept of every unit.
        shuffle: find targets among images shuffled in another way than decoys: a run in which there
            is nothing to find.
    """

    null: Kind = "shuffled"
    draws: int | None = None
    blocks: int | None = None
    criterion: Criterion = "r"
    neighbours: int = 32
    shuffle: bool = False

    @classmethod
    def of(cls, cfg: DictConfig) -> Evidence:
        """What a run's config asks for; :class:`RosettaError` for a value that there is not."""
        for key, choices in {"control": get_args(Control), "center": ("position",)}.items():
            if cfg[key] is not None:
                check_choice(key, cfg[key], choices)
        for key in ("k_gen", "k_disc"):
            check_count(key, cfg[key])
        if not isinstance(cfg.max_fdr, int | float) or not 0 < cfg.max_fdr <= 1:
            raise RosettaError(f"max_fdr={cfg.max_fdr}: expected a rate above 0 and up to 1.")
        averaged = cfg.correlation == "batch_mean"  # such averages have no sums to hold against
        return cls(
            "none" if averaged else cfg["null"],
            cfg.draws,
            1 if averaged else cfg.blocks,
            "centred" if cfg.center == "position" else "r",
            max(KEPT, cfg.k_gen, cfg.k_disc),
            cfg.control == "shuffled",
        )

    def __post_init__(self) -> None:
        check_choice("null", self.null, get_args(Kind))
        check_choice("criterion", self.criterion, get_args(Criterion))
        for key, value in {"draws": self.draws, "blocks": self.blocks}.items():
            if value is not None:
                check_count(key, value)

    @property
    def spare(self) -> int:
        """Draws that are no decoys."""
        return int(self.shuffle)

    def grouping(self, images: int, classes: int, groups: Mapping[str, UnitGroups]) -> Grouping:
        """How a run's images are paired and parted.

        Args:
            images: of the run.
            classes: that its images have in turn, 0 without any.
            groups: its models' units, the reference's first.

        Raises:
            RosettaError: there are no shuffles, or too few images for them, where a control, a
                criterion or classes need them.
        """
        if self.null == "none":
            draws = 0
        else:
            few = images < FEW_IMAGES or min(len(x.index) for x in groups.values()) < FEW_UNITS
            draws = (3 if few else 1) if self.draws is None else self.draws
        stride = max(1, classes) if self.null == "within_class" else 1
        draws = max(0, min(draws, images // stride - 1 - self.spare))
        if self.null == "within_class" and images // stride < 2:
            raise RosettaError(
                f"null=within_class: {images} images of {stride} classes, and every class needs "
                "two.\nUse more images, fewer classes, or null=shuffled."
            )
        needs = {"control=shuffled": self.shuffle, "center=position": self.criterion == "centred"}
        wanting = [key for key, asked in needs.items() if asked and not draws]
        if wanting:
            raise RosettaError(
                f"{wanting[0]}: with null={self.null} and {images} images there is nothing to "
                "shuffle.\nKeep null=shuffled and correlation=pooled, and use more images."
            )
        rows = len(next(iter(groups.values())).index)
        columns = sum(len(own.index) for own in groups.values())
        most = BLOCK_BYTES // (8 * rows * columns * (1 + draws))
        blocks = min(MOST_BLOCKS, most, images // FEWEST_IMAGES)
        draws += self.spare
        together = stride * group_size(draws)  # images that no block parts
        wanted = blocks if self.blocks is None else self.blocks
        return Grouping(images, draws, stride, max(1, min(wanted, images // together)))


def parts_of(blocks: int) -> dict[str, Tensor]:
    """Parts of the images to match again, as blocks (blocks,), bool.

    ``half_0a`` and ``half_0b`` are the blocks in two halves, at random, and so on; ``first_1``,
    ``first_2``, ``first_4`` and so on are the first so many blocks.
    """
    parts: dict[str, Tensor] = {}
    if blocks < 2:
        return parts
    source = torch.Generator().manual_seed(0)
    for split in range(SPLITS if blocks > 3 else 1):
        half = torch.zeros(blocks, dtype=torch.bool)
        half[torch.randperm(blocks, generator=source)[: blocks // 2]] = True
        parts |= {f"half_{split}a": half, f"half_{split}b": ~half}
    first = 1
    while first < blocks:
        parts[f"first_{first}"] = torch.arange(blocks) < first
        first *= 2
    return parts
