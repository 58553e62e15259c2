"""Which images are looked at together: every partner in its batch, nothing twice."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as some

from rosetta_lab.data.grouping import Grouping


@given(
    images=some.integers(8, 90),
    draws=some.integers(0, 3),
    stride=some.integers(1, 4),
    blocks=some.integers(1, 6),
    batch=some.integers(1, 40),
    world=some.integers(1, 4),
)
def test_batches_hold_whole_groups_of_one_block(
    images: int, draws: int, stride: int, blocks: int, batch: int, world: int
) -> None:
    if images // stride <= draws:
        return
    grouping = Grouping(images, draws, stride, blocks)
    batches = [b for rank in range(world) for b in grouping.batches(batch, rank, world)]
    assert sorted(image for one in batches for image in one) == list(range(images))
    largest = max(len(group) for group in grouping.groups)
    for one in batches:
        assert len(one) <= max(batch, largest)
        assert len({grouping.block(image) for image in one}) == 1
        for draw, order in grouping.orders(torch.tensor(one)).items():
            partners = [one[place] for place in order.tolist()]
            assert sorted(partners) == sorted(one), draw  # each takes part once, on either side
            assert all(a != b for a, b in zip(one, partners, strict=True))
            assert all((a - b) % stride == 0 for a, b in zip(one, partners, strict=True))


@given(
    images=some.integers(8, 90), batch=some.integers(1, 20), done=some.integers(0, 60),
    other=some.integers(1, 20),
)  # fmt: skip
def test_a_run_goes_on_with_another_batch_size(
    images: int, batch: int, done: int, other: int
) -> None:
    grouping = Grouping(images, 1, blocks=3)
    first, seen = [], 0
    for one in grouping.batches(batch):
        if seen >= done:
            break
        first.append(one)
        seen += len(one)
    rest = grouping.batches(other, done=seen)
    assert [i for one in first + rest for i in one] == list(range(images))


def test_blocks_are_about_equal() -> None:
    grouping = Grouping(1600, 1, blocks=13)
    sizes = torch.tensor([grouping.block(i) for i in range(1600)]).bincount()
    assert len(sizes) == 13
    assert sizes.max() - sizes.min() <= 2
