"""Writes checkpoint files in the formats that are found in the wild, from golden tensors.

The classes that such files name (``dnnlib``, ``torch_utils``, ...) exist only while a file is
written; a reader that imported anything would fail.
"""

from __future__ import annotations

import argparse
import functools
import json
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"


@dataclass
class Golden:
    """Tensors and metadata of a golden file."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @classmethod
    def read(cls, name: str) -> Golden:
        with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
            return cls({k: file.get_tensor(k) for k in file.keys()}, file.metadata())  # noqa: SIM118

    def json(self, key: str) -> Any:
        return json.loads(self.metadata[key])

    def below(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> Any:
    raise AssertionError("a file's network was rebuilt by its own code")


def _create_array(*args: Any) -> Any:
    raise AssertionError("a file's array was rebuilt by dill")


def _load_type(name: str) -> Any:
    raise AssertionError("a file's type was looked up by dill")


def _import_module(name: str) -> Any:
    raise AssertionError("a file's module was imported by dill")


def _get_attr(owner: Any, name: str) -> Any:
    raise AssertionError("a file's global was looked up by dill")


class EasyDict(dict):  # type: ignore[type-arg]
    pass


class Network:
    """A TensorFlow-era network: pickled as its state."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


class Stranger:
    """Some class of a training code that nobody here has."""

    def __init__(self) -> None:
        self.threshold = 0.5


class Reduced:
    """Pickled as a call of ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call

    def __call__(self, *args: Any) -> Any:
        """Only callables can be pickled as a call's function, which this may stand for."""
        raise AssertionError("never called")


FOREIGN = {
    "torch_utils.persistence": _reconstruct_persistent_obj,
    "dnnlib.util": EasyDict,
    "dnnlib.tflib.network": Network,
    "dill._dill": (_create_array, _load_type, _import_module, _get_attr),
    "pg_modules.blocks": Stranger,
}


@contextmanager
def foreign_modules() -> Iterator[None]:
    """Let the foreign classes be importable, for as long as a file is written."""
    before = dict(sys.modules)
    try:
        for name, members in FOREIGN.items():
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                path = ".".join(parts[:depth])
                sys.modules.setdefault(path, types.ModuleType(path))
            for member in members if isinstance(members, tuple) else (members,):
                member.__module__ = name
                setattr(sys.modules[name], member.__name__, member)
        yield
    finally:
        for name in sys.modules.keys() - before.keys():
            del sys.modules[name]


def dump(value: Any, protocol: int = 4) -> bytes:
    with foreign_modules():
        return pickle.dumps(value, protocol)


def persistent(class_name: str, state: dict[str, Any]) -> Reduced:
    """A network object as the NVlabs tools pickle it."""
    source = "raise SystemExit('a file ran its own source code')"
    meta = {"type": "class", "version": 6, "module_src": source}
    return Reduced(_reconstruct_persistent_obj, meta | {"class_name": class_name, "state": state})


def module_state(**attributes: Any) -> dict[str, Any]:
    return {
        "training": False,
        "_parameters": OrderedDict(),
        "_buffers": OrderedDict(),
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": OrderedDict(),
        "_modules": OrderedDict(),
        **attributes,
    }


def nvlabs_network(
    params: dict[str, Tensor],
    buffers: list[str],
    class_name: str = "Generator",
    attributes: dict[str, dict[str, Any]] | None = None,
    **top: Any,
) -> Reduced:
    """A network object with ``params``.

    Args:
        params: by full name.
        buffers: which of them are buffers.
        class_name: of the network itself.
        attributes: extra attributes of modules, by the module's name.
        top: extra attributes of the network itself.
    """
    states: dict[str, dict[str, Any]] = {"": module_state(**top)}

    def state_of(name: str) -> dict[str, Any]:
        if name not in states:
            states[name] = module_state(**(attributes or {}).get(name, {}))
            parent, _, own = name.rpartition(".")
            state_of(parent)["_modules"][own] = name
        return states[name]

    for name, value in params.items():
        parent, _, own = name.rpartition(".")
        state = state_of(parent)
        if name in buffers:
            state["_buffers"][own] = value
        else:
            state["_parameters"][own] = nn.Parameter(value)
    states[""]["_buffers"]["scratch"] = torch.zeros(3)
    states[""]["_non_persistent_buffers_set"].add("scratch")
    states[""]["_parameters"]["absent"] = None

    def build(name: str, kind: str) -> Any:
        state = states[name]
        children = [(own, build(full, "Layer")) for own, full in state["_modules"].items()]
        state["_modules"] = OrderedDict(children)
        if name == "mapping.embed" and set(state["_parameters"]) == {"weight"}:
            weight = state["_parameters"]["weight"]
            return nn.Embedding(*weight.shape, _weight=weight)  # plain torch module in StyleGAN-XL
        return persistent(kind, state)

    return build("", class_name)


def nvlabs_pickle(network: Any, protocol: int = 4, **entries: Any) -> bytes:
    """A whole file around ``network``, with a discriminator full of things that nobody knows."""
    discriminator = persistent(
        "ProjectedDiscriminator",
        module_state(
            feature_network=Stranger(),
            activation=functools.partial(nn.functional.leaky_relu, negative_slope=0.2),
            device=torch.device("cpu"),
            numbers=np.arange(3),
            _parameters={"weight": nn.Parameter(torch.ones(2, 2))},
        ),
    )
    root = {
        "G": None,
        "D": discriminator,
        "G_ema": network,
        "augment_pipe": None,
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset"),
    }
    return dump(root | entries, protocol)


def tensorflow_network(golden: Golden, tree: dict[str, Any] | None = None, prefix: str = "") -> Any:
    """The network that a golden file describes, as the TensorFlow code pickles it."""
    tree = golden.json("tf_tree") if tree is None else tree
    arrays = golden.below(f"tf/{prefix}")
    state = tree | {
        "components": {
            key: tensorflow_network(golden, component, f"{prefix}{key}/")
            for key, component in tree["components"].items()
        },
        "build_module_src": "raise SystemExit('a file ran its own source code')",
        "variables": [
            (name, arrays[name].numpy() if kind == "array" else np.float32(arrays[name].item()))
            for name, kind in tree["variables"]
        ],
    }
    return Network(state)


def tensorflow_pickle(network: Any, protocol: int = 4) -> bytes:
    empty = Network({"version": 4, "name": "D", "components": {}, "variables": []})
    return dump((empty, empty, network), protocol)


def rosinality_checkpoint(golden: Golden) -> dict[str, Any]:
    """What the rosinality training script saves, less the optimisers."""
    return {
        "g": {"style.1.weight": torch.zeros(1)},
        "g_ema": OrderedDict(golden.below("param/")),
        "latent_avg": golden.tensors["ckpt/latent_avg"],
        "args": argparse.Namespace(size=32, path="images/"),
    }
