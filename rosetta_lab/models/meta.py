"""Models on PyTorch's ``meta`` device, where tensors have shapes but no contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig

from rosetta_lab.models import recording
from rosetta_lab.models.layouts import twin
from rosetta_lab.models.load import load_inputs, load_observer, random_weights
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer


def observer_without_memory(cfg: DictConfig) -> Observer:
    """A run's models on the ``meta`` device."""
    with torch.device("meta"):
        return load_observer(random_weights(cfg))


def described(config: Mapping[str, Any] | DictConfig) -> bool:
    """Whether a run's models are those of its config; others are objects of whoever calls."""
    return bool(config.get("disc")) and "network" in (config.get("gen") or {"network": None})


def without_memory(cfg: DictConfig, observer: Observer) -> Observer:
    """A run's models on the ``meta`` device, copies where they are objects."""
    if described(cfg):  # whose copies might hold on to what they are copied from
        return observer_without_memory(cfg)
    return twin(observer, "meta", recording.__name__)


def shapes_without_memory(cfg: DictConfig, observer: Observer) -> dict[str, list[Layer]]:
    """The recorded layers by model, from one image on the ``meta`` device."""
    batch = load_inputs(cfg, observer).batch([0])
    return observer.shapes(observer(batch))
