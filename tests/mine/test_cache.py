"""What finished runs are kept under: a run whose result may differ has another key."""

from __future__ import annotations

from typing import Any

from toy import ToyGenerator, ToyModel

from rosetta_lab.data.latents import Latents
from rosetta_lab.mine.cache import fingerprint
from rosetta_lab.mine.null import Evidence
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
