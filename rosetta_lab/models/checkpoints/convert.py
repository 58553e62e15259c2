"""Weights from any file that is understood, converted to safetensors once.

    weights = load_weights("https://example.org/stylegan2-cat.pkl")
    generator = StyleGAN2(**weights.config)
    load_into(generator, weights)

The format is recognised by the contents of the file, never by its name, and nothing in it is run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import save_tensors
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.cache import cache_dir, locked
from rosetta_lab.models.checkpoints.download import fetch, is_remote
from rosetta_lab.models.checkpoints.nvlabs import read_nvlabs
from rosetta_lab.models.checkpoints.pickles import read_pickle
from rosetta_lab.models.checkpoints.rosinality import is_rosinality, read_rosinality
from rosetta_lab.models.checkpoints.state_dicts import (
    biggan_arguments,
    biggan_state,
    find_state_dict,
    is_biggan,
)
from rosetta_lab.models.checkpoints.tensorflow import read_tensorflow
from rosetta_lab.models.checkpoints.told import parse_arguments
from rosetta_lab.models.checkpoints.torch_files import LEGACY, read_torch
from rosetta_lab.models.checkpoints.values import RULES

log = logging.getLogger(__name__)

VERSION = 2  # of the conversions; a higher one makes cached files of a lower one be ignored
BIGGAN = "biggan_deep"
# What contents that are not as they should be lead to.
UNEXPECTED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError)
KNOWN = "safetensors, torch.save, or a pickle of the NVlabs tools"


@dataclass(frozen=True)
class Weights:
    """A network's weights and what their file tells about the network.

    Attributes:
        state_dict: tensors by name, on the CPU.
        config: constructor arguments, where the file tells them.
        family: ``stylegan2``, ``stylegan3``, ``stylegan_xl``, ``biggan_deep``; None for others.
        source: where the weights came from, as given.
        sha256: of the file that they came from.
        file: the safetensors that they were read from, if any: some libraries want one.
    """

    state_dict: dict[str, Tensor] = field(repr=False)
    config: dict[str, Any] | None
    family: str | None
    source: str
    sha256: str
    file: Path | None = None


def load_weights(
    source: str,
    *,
    sha256: str | None = None,
    cache: Path | None = None,
    offline: bool | None = None,
) -> Weights:
    """Weights from ``source``; for the arguments see :func:`resolve`.

    Raises:
        RosettaError: the file cannot be had, asks to run something, is damaged, or holds something
            else than weights.
    """
    path, digest = fetch(source, sha256=sha256, cache=cache, offline=offline)
    if not _is_safetensors(path):
        converted = cache_dir(cache) / "converted" / f"{digest}-v{VERSION}.safetensors"
        if not converted.is_file():
            with locked(converted):
                if not converted.is_file():  # another process may have made it meanwhile
                    state, config, family = _understood(path)
                    if family == BIGGAN:
                        config = _biggan_config(source, cache, offline)
                    metadata = {"source": source, "sha256": digest}
                    metadata |= {"family": family} if family else {}
                    metadata |= {"config": json.dumps(config)} if config else {}
                    save_tensors(converted, state, metadata)
        path = converted
    state, metadata = _read_safetensors(path)
    family = metadata.get("family")
    config = parse_arguments(metadata["config"], str(path)) if "config" in metadata else None
    if is_biggan(state):
        family, config = BIGGAN, config or _biggan_config(source, cache, offline)
    return Weights(state, config, family, source, digest, path)


def load_into(module: nn.Module, weights: Weights, *, ignore: Sequence[str] = ()) -> None:
    """Copy ``weights`` into ``module``; names and shapes must agree.

    Args:
        module: takes the weights.
        weights: from :func:`load_weights`.
        ignore: glob patterns of names that may be missing on either side.

    Raises:
        RosettaError: names or shapes differ; the message lists the first few.
    """
    own, given = module.state_dict(), weights.state_dict
    wrong = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "of another shape": [
            f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in given and own[name].shape != given[name].shape
        ],
    }
    for kind in ("missing", "unexpected"):
        wrong[kind] = [n for n in wrong[kind] if not any(fnmatchcase(n, p) for p in ignore)]
    if any(wrong.values()):
        listed = "; ".join(
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in wrong.items()
            if names
        )
        raise RosettaError(
            f"{weights.source} does not fit {type(module).__name__}: {listed}.\n"
            "Choose the weights of this architecture, or change the architecture's arguments."
        )
    module.load_state_dict({n: v for n, v in given.items() if n in own}, strict=False)


def _is_safetensors(path: Path) -> bool:
    """Whether ``path`` starts with the length of a JSON header and its opening brace."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise RosettaError(
            f"{path} is damaged or truncated: {error}.\nDelete it and try again."
        ) from error


def _understood(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None, str | None]:
    """As :func:`_read`; whatever goes wrong is a RosettaError that names the file."""
    try:
        return _read(path)
    except RosettaError as error:
        prefix = "" if str(path) in str(error) else f"{path}: "
        raise RosettaError(f"{prefix}{error}") from error
    except UNEXPECTED as error:
        raise RosettaError(
            f"{path} is damaged, or not a checkpoint that is known "
            f"({type(error).__name__}: {' '.join(str(error).split())[:150]}).\nExpected {KNOWN}."
        ) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None, str | None]:
    """State dict, constructor arguments and family, by the contents of ``path``."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", LEGACY)):
        checkpoint = read_torch(path)
        if is_rosinality(checkpoint):
            return read_rosinality(checkpoint, Budget(path))
        state = find_state_dict(checkpoint, Budget(path))
        return (biggan_state(state), None, BIGGAN) if is_biggan(state) else (state, None, None)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        pickle = read_pickle(path, RULES)
        if isinstance(pickle.root, tuple):
            return read_tensorflow(pickle)
        if isinstance(pickle.root, dict) and "G_ema" in pickle.root:
            return read_nvlabs(pickle)
        raise RosettaError(
            f"a pickle of a {type(pickle.root).__name__}, not of a network.\n"
            "Expected a dict with G_ema (PyTorch) or a tuple (G, D, Gs) (TensorFlow)."
        )
    what = "a web page" if head.lstrip()[:1] == b"<" else f"an unknown format ({head[:8]!r})"
    raise RosettaError(f"{what}, not a checkpoint.\nExpected {KNOWN}; pass weights=PATH.")


def _biggan_config(source: str, cache: Path | None, offline: bool | None) -> dict[str, Any] | None:
    """The config that is published beside ``...pytorch_model.bin``, if there is one.

    A copy of the weights alone will do where the configuration describes the network.
    """
    if not source.endswith("pytorch_model.bin"):
        return None
    beside = source.removesuffix("pytorch_model.bin") + "config.json"
    try:
        path, _ = fetch(beside, cache=cache, offline=offline)
    except RosettaError:
        if is_remote(beside):
            raise
        log.info("there is no %s, so nothing checks the configuration of the network", beside)
        return None
    return biggan_arguments(parse_arguments(path.read_text(errors="replace"), str(path)))
