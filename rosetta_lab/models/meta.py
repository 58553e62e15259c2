"""Models on PyTorch's ``meta`` device, where tensors have shapes but no contents."""

from __future__ import annotations

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


def described(cfg: DictConfig) -> bool:
    """Whether a run's models are those of its config; others are objects of whoever calls."""
    return bool(cfg.disc) and (cfg.gen is None or "network" in cfg.gen)


def without_memory(cfg: DictConfig, observer: Observer) -> Observer:
    """A run's models on the ``meta`` device, copies where they are objects."""
    if described(cfg):  # whose copies might hold on to what they are copied from
        return observer_without_memory(cfg)
    return twin(observer, "meta", recording.__name__)


def shapes_without_memory(cfg: DictConfig, observer: Observer) -> dict[str, list[Layer]]:
    """The recorded layers by model, from one image on the ``meta`` device."""
    batch = load_inputs(cfg, observer).batch([0])
    return observer.shapes(observer(batch))
