"""Latents by number, and their sharing out over processes."""

from __future__ import annotations

import pytest
import torch

from rosetta_lab.data.latents import Latents, Shard, sample_z
from rosetta_lab.errors import RosettaError


def test_latents_depend_on_seed_and_index_only() -> None:
    latents = Latents(20, seed=3, z_dim=5, num_classes=4, classes=[1, 3])
    whole = latents.batch(list(range(20)))
    part = latents.batch([7, 2])
    assert torch.equal(part.z, whole.z[[7, 2]])
    assert part.label.tolist() == [3, 1]
    assert not torch.equal(sample_z(4, 7, 5), part.z[0])


def test_truncated_normal() -> None:
    from scipy import stats

    z = torch.cat([sample_z(0, i, 500, "truncated_normal", 1.0) for i in range(20)])
    assert z.abs().max() <= 1
    assert stats.kstest(z.numpy(), stats.truncnorm(-1, 1).cdf).pvalue > 0.01


def test_shards_cover_everything_once() -> None:
    for total, world in ((10, 1), (10, 3), (2, 4)):
        parts = [list(Shard(total, rank, world)) for rank in range(world)]
        assert sorted(number for part in parts for number in part) == list(range(total))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_images": 0}, "num_images=0: at least one"),
        ({"num_images": 5, "classes": [2]}, "the generator has no classes"),
        ({"num_images": 5, "num_classes": 3, "classes": [3]}, "there is no class 3"),
        ({"num_images": 5, "num_classes": 3, "classes": []}, "at least one class"),
    ],
)
def test_latents_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(RosettaError, match=message.replace("[", r"\[")):
        Latents(seed=0, z_dim=4, **arguments)
