"""What finished runs are kept under: a run whose result may differ has another key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from toy import ToyGenerator, ToyModel

from rosetta_lab.data.latents import Latents
from rosetta_lab.files import save_tensors
from rosetta_lab.mine.cache import SumsCache, fingerprint
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.models.observer import GeneratedImages, Observer


def key(reference: str | None = None, seed: int = 1, **how: Any) -> str:
    source = GeneratedImages(ToyGenerator(), ["late"], "toy")
    models = {"a": ToyModel(), "b": ToyModel(seed=seed)}
    options = {"psi": 1.0, "correlation": "pooled", "configs": {}, "batch_size": 8} | how
    watch = Observer(source, models, reference)
    return fingerprint(watch, Latents(30, 0, 12), evidence=Evidence(), **options)


def test_every_reference_model_has_a_key_of_its_own() -> None:
    """Two copies of one model beside each other: only which one is the reference differs."""
    keys = [key(name) for name in ("toy", "a", "b")]
    assert len(set(keys)) == 3
    assert keys == [key(), key("a"), key("b")]  # the source's own model is the default


def test_results_depend_on_weights_and_not_on_batches() -> None:
    assert key() != key(seed=2) != key(seed=2, psi=0.7)
    assert key() == key(batch_size=16)
    assert key(correlation="batch_mean") != key(correlation="batch_mean", batch_size=16)


SUMS, NOTES = {"x": torch.ones(3)}, {"images": "16"}
OTHERS: dict[str, Callable[[Path], object]] = {
    "what another program wrote": lambda path: save_file(SUMS, path, NOTES),
    "no safetensors": lambda path: path.write_bytes(b"x" * 100),
    "no number": lambda path: save_tensors(path, SUMS, {"images": "many"}),
    "no notes": lambda path: save_tensors(path, SUMS),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_no_run_has_left_is_done_again(what: str, tmp_path: Path) -> None:
    """Without a digest there is no telling whose sums they are."""
    left = tmp_path / "key.partial" / "rank-0-of-1.safetensors"
    save_tensors(left, SUMS, NOTES)
    cache = SumsCache(tmp_path / "key.safetensors")
    cache.partial.find(0, 1)
    assert cache.partial.images == 16
    left.unlink()
    OTHERS[what](left)
    for partial in (cache.partial, PartialSums(left.parent)):
        assert not partial.find(0, 1)
        assert partial.images == 0
    OTHERS[what](cache.path)
    assert cache.load() is None
