"""Scores of words, and names that meaningless words have to be worse than."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rosetta_lab.functional.naming import name, scores


def test_scores_are_those_of_a_loop() -> None:
    source = np.random.default_rng(0)
    crops, others, words = (source.normal(size=shape) for shape in ((3, 4, 6), (50, 6), (5, 6)))
    found = scores(*(torch.from_numpy(x) for x in (crops, others, words)))
    for concept in range(3):
        for word in range(5):
            known = [float(np.dot(other, words[word])) for other in others]
            near = np.mean([np.dot(crop, words[word]) for crop in crops[concept]])
            expected = (near - np.mean(known)) / np.std(known, ddof=1)
            assert float(found[concept, word]) == pytest.approx(expected)


def test_crops_like_all_others_score_about_nothing() -> None:
    source = torch.Generator().manual_seed(0)
    others, words = torch.randn(4000, 8, generator=source), torch.randn(20, 8, generator=source)
    crops = torch.randn(200, 25, 8, generator=source)
    found = scores(crops, others, words)
    assert float(found.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(found.std()) == pytest.approx(1 / math.sqrt(25), rel=0.1)


def test_names_by_hand() -> None:
    known = torch.tensor([[1.0, 3.0, 2.0], [0.5, 0.4, 0.5]])
    lists = torch.tensor([[[0.0, 2.9, 0.0], [0.6, 0.0, 0.0]], [[3.0, 0.0, 0.0], [0.1, 0.2, 0.0]],
                          [[0.0, 0.0, 1.0], [0.5, 0.5, 0.5]]])  # fmt: skip
    nothing = torch.zeros(3, 3)
    found = name(known, lists, nothing)
    assert found.best.tolist() == [1, 0] and found.second.tolist() == [2, 2]  # the first on ties
    assert found.score.tolist() == [3.0, 0.5] and found.second_score.tolist() == [2.0, 0.5]
    assert found.chance.tolist() == [2 / 4, 3 / 4]
    shuffled = torch.tensor([[3.5, 0.0, 0.0], [0.0, 0.7, 3.0], [0.0, 3.1, 0.0]])
    assert name(known, lists, shuffled).chance.tolist() == [4 / 4, 4 / 4]
    assert name(known, lists, shuffled[:1] * 0.1).chance.tolist() == [2 / 4, 3 / 4]
    alone = name(known[:, :1], lists[:, :, :1], nothing[:, :1])
    assert alone.second.tolist() == [-1, -1] and bool(alone.second_score.isnan().all())


def test_random_words_get_a_name_as_rarely_as_announced() -> None:
    source = torch.Generator().manual_seed(0)
    known = torch.randn(2000, 7, generator=source)
    lists, shuffled = (torch.randn(*shape, generator=source) for shape in ((39, 2000, 7), (999, 7)))
    low = torch.full((99, 7), -9.0)
    by_lists = name(known, lists, low).chance
    by_crops = name(known, low[:, None].expand(-1, 2000, -1), shuffled).chance
    for chance in (by_lists, by_crops):
        assert float((chance <= 0.05).double().mean()) == pytest.approx(0.05, abs=0.015)
    both = name(known, lists, shuffled).chance
    assert torch.equal(both, torch.maximum(by_lists, by_crops))
