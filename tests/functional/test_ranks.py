"""Mid-ranks in a sample, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from rosetta_lab.functional.ranks import VALUES, edges_of, mid_ranks


def maps_with_ties(images: int, seed: int = 0) -> Tensor:
    """Maps (N, 6, 5, 4) with a common cause: half of the channels zero at most places."""
    source = torch.Generator().manual_seed(seed)
    cause = torch.randn(images, 1, 5, 4, generator=source)
    maps = cause + torch.randn(images, 6, 5, 4, generator=source)
    maps[:, :3] = (maps[:, :3].exp() - 3.0).relu()
    maps[:, 5] = maps[:, 5].round()
    return maps


def units(maps: Tensor) -> Tensor:
    """Values of every channel (C, N H W)."""
    return maps.transpose(0, 1).flatten(1)


def test_ranks_are_shares_below_with_half_of_what_is_equal() -> None:
    """In a sample of other values, in half precision, and with both zeros."""
    maps = maps_with_ties(7).bfloat16()
    maps[0, 0, 0, 0] = -0.0
    sample = units(maps_with_ties(3, seed=1).bfloat16()).float()
    found = mid_ranks(maps, edges_of(sample[:, torch.randperm(sample.shape[1])]))
    assert found.shape == maps.shape and found.dtype == torch.float32
    values = units(maps).float().numpy()
    for channel, own in enumerate(sample.numpy()):
        below = (own[None] < values[channel][:, None]).mean(axis=1)
        equal = (own[None] == values[channel][:, None]).mean(axis=1)
        np.testing.assert_allclose(units(found)[channel], below + equal / 2, atol=1e-7)


def test_some_channels_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = maps_with_ties(7)
    edges = edges_of(units(maps))
    whole = mid_ranks(maps, edges)
    assert maps.numel() < VALUES
    monkeypatch.setattr("rosetta_lab.functional.ranks.VALUES", 2 * 7 * 20)
    assert mid_ranks(maps, edges).equal(whole)


def test_correlations_of_ranks_among_all_values_are_spearmans() -> None:
    maps = maps_with_ties(50)
    assert (maps[:, :3] == 0).float().mean() > 0.6
    ranks = units(mid_ranks(maps, edges_of(units(maps))))
    expected = spearmanr(units(maps).T.numpy()).statistic
    np.testing.assert_allclose(np.corrcoef(ranks.double().numpy()), expected, atol=1e-6)


@pytest.mark.parametrize(("size", "most"), [(64, 0.08), (1024, 0.01)])
def test_a_sample_is_nearly_as_good(size: int, most: float) -> None:
    """The error shrinks about as one over the size: ranks are wrong in much the same way."""
    maps = maps_with_ties(500)
    values = units(maps)
    sample = values[:, torch.randperm(values.shape[1])[:size]]
    found = np.corrcoef(units(mid_ranks(maps, edges_of(sample))).double().numpy())
    assert np.abs(found - spearmanr(values.T.numpy()).statistic).max() < most
