"""Nearest images and their precision: against scipy's distances and plain counting."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cdist

from rosetta_lab.functional import retrieval
from rosetta_lab.functional.retrieval import base_rate, directions, nearest_images, precision

SOURCE = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True, params=[7, 512])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries at a time, which make no difference."""
    monkeypatch.setattr(retrieval, "ROWS", request.param)


def test_the_nearest_are_those_of_scipy() -> None:
    vectors = torch.randn(50, 6, generator=SOURCE) * torch.tensor([1.0, 9.0, 0.1, 1.0, 1.0, 0.0])
    vectors[:, 5] = 3.0  # never varies
    some = vectors[:, :5].double()
    scaled = ((some - some.mean(dim=0)) / some.std(dim=0, correction=0)).numpy()
    distance = torch.from_numpy(cdist(scaled, scaled, "cosine")).fill_diagonal_(torch.inf)
    found = nearest_images(directions(vectors), 8)
    assert found.tolist() == distance.argsort(dim=1)[:, :8].tolist()


def test_precision_counts_the_right_ones() -> None:
    label = torch.randint(3, (40,), generator=SOURCE)
    near = torch.stack([torch.randperm(40, generator=SOURCE)[:5] for _ in range(40)])
    found = precision(near, lambda queries: label[queries, None] == label)
    for query in range(40):
        right = sum(int(label[n] == label[query]) for n in near[query].tolist())
        assert float(found[query]) == pytest.approx(right / 5)


def test_chance_is_what_random_neighbours_give() -> None:
    place = torch.rand(60, 2, generator=SOURCE)

    def close(queries: torch.Tensor) -> torch.Tensor:
        return torch.cdist(place[queries], place) < 0.3

    every = torch.stack([torch.tensor([n for n in range(60) if n != i]) for i in range(60)])
    expected = precision(every, close)  # of all others as the nearest
    assert torch.allclose(base_rate(60, close), expected, atol=1e-6)
    assert 0.05 < float(expected.mean()) < 0.5
