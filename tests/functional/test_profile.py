"""Class profiles against sums by hand, planted classes, and labels that mean nothing."""

from __future__ import annotations

import torch

from rosetta_lab.functional.profile import class_profile


def test_means_of_standardised_values_by_class() -> None:
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0], [7.0, 5.0]])
    found = class_profile(values, torch.tensor([4, 2, 4, 2]), draws=3)
    assert found.labels.tolist() == [2, 4]
    spread = 5.0**0.5  # of 1, 3, 5, 7
    expected = torch.tensor([[1.0 / spread, 0.0], [-1.0 / spread, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found.means, expected)  # what never varies is 0


def test_only_a_class_that_is_planted_rises_above_chance() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    values = torch.randn(200, 40, generator=random)
    values[:, 0] += 2.0 * (labels == 3)
    found = class_profile(values, labels)
    above = found.means > found.chance
    assert found.labels[above[:, 0]].tolist() == [3]
    # Of the others, about one in twenty has a class that is higher than in 95 % of the shuffles.
    assert 0 <= int(above[:, 1:].any(dim=0).sum()) <= 6
