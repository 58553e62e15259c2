"""What units tell of factors: against the F test, the Mann-Whitney U and planted units."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from rosetta_lab.functional.factors import (
    correlation_ratio,
    in_groups,
    shuffled_superiority,
    superiority,
)

SOURCE = torch.Generator().manual_seed(0)


def test_the_correlation_ratio_is_that_of_the_f_test() -> None:
    groups = torch.randint(5, (200,), generator=SOURCE)
    values = torch.randn(200, 3, generator=SOURCE)
    values[:, 0] += groups
    values[:, 2] = 4.0
    f = stats.f_oneway(*(values[groups == g, :2].numpy() for g in range(5))).statistic
    expected = 4 * (f - 1) / (4 * f + 195)  # epsilon squared from F of 4 and 195 degrees of freedom
    found = correlation_ratio(1e3 + values, groups)
    assert found[:2].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert found[0] > 0.5 and float(found[2]) == 0.0


def test_units_that_tell_nothing_are_around_zero_whatever_the_groups() -> None:
    values = torch.randn(300, 2000, generator=SOURCE)
    for groups in (2, 30):
        found = correlation_ratio(values, torch.arange(300) % groups)
        assert abs(float(found.mean())) < 0.002


def test_a_factor_that_goes_around_is_told() -> None:
    hue = 360.0 * torch.rand(800, generator=SOURCE)
    red = torch.cos(torch.deg2rad(hue))[:, None]  # 0 and 359 degrees are alike
    groups = in_groups(hue, 8)
    assert groups.bincount().tolist() == [100] * 8
    assert float(correlation_ratio(red, groups)[0]) > 0.9


def test_superiority_is_the_u_of_mann_and_whitney() -> None:
    values = torch.randint(6, (60,), generator=SOURCE).float()
    chosen = torch.rand(60, generator=SOURCE) < 0.4
    u = stats.mannwhitneyu(values[chosen].numpy(), values[~chosen].numpy()).statistic
    count = int(chosen.sum())
    assert superiority(values, chosen) == pytest.approx(u / (count * (60 - count)))
    assert math.isnan(superiority(values, torch.ones(60, dtype=torch.bool)))


def test_strata_that_differ_are_no_evidence() -> None:
    """All of the second layer's units tell more, and most of the chosen ones are there."""
    strata = torch.arange(200) // 100
    values = strata + 0.1 * torch.randn(200, generator=SOURCE)
    chosen = torch.rand(200, generator=SOURCE) < torch.tensor([0.1, 0.8])[strata]
    chance, p = shuffled_superiority(values, chosen, strata, 199)
    assert superiority(values, chosen) > 0.75 and chance > 0.7 and p > 0.05
    values[chosen] += 0.3
    assert shuffled_superiority(values, chosen, strata, 199)[1] == pytest.approx(1 / 200)
