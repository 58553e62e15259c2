"""Weights from any file that is understood, converted to safetensors once.

    weights = load_weights("https://example.org/stylegan2-cat.pkl")
    generator = build(partial(StyleGAN2, **weights.config), weights)

The format is recognised by the contents of the file, never by its name, and nothing in it is run.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE, cache_folder, is_plain, save_tensors
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.child import seconds
from rosetta_lab.models.checkpoints.download import fetch, is_remote
from rosetta_lab.models.checkpoints.reading import BIGGAN
from rosetta_lab.models.checkpoints.rules import explained, name_of
from rosetta_lab.models.checkpoints.state_dicts import biggan_arguments, is_biggan, unwrapped
from rosetta_lab.models.checkpoints.stored import PER_TENSOR
from rosetta_lab.models.checkpoints.told import parse_arguments
from rosetta_lab.models.checkpoints.weights import Weights
from rosetta_lab.run.addresses import public
from rosetta_lab.run.cache import (
    intact,
    locked,
    private,
    record_digest,
    sha256_of,
)

log = logging.getLogger(__name__)

VERSION = 3  # of the conversions; a higher one makes cached files of a lower one be ignored
FAMILIES = ("stylegan2", "stylegan3", "stylegan_xl", BIGGAN)
# The package of the parent process, whatever else is installed under its name.
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import rosetta_lab
del sys.path[0]
from rosetta_lab.models.checkpoints.child import main
main()
"""
PATIENCE = 600  # seconds, for slow disks and busy machines; the child's own limit comes first


def load_weights(source: str, *, sha256: str | None = None) -> Weights:
    """Weights from ``source``; for the arguments see :func:`fetch`.

    Raises:
        RosettaError: the file cannot be had, asks to run something, is damaged, or holds something
            else than weights.
    """
    original, digest = fetch(source, sha256=sha256)
    path = original
    if not _is_safetensors(original):
        path = _converted(original, digest, source)
    state, metadata = _read_safetensors(path, original)
    *_, bare = unwrapped(state)
    family = metadata["family"] if metadata.get("family") in FAMILIES else None
    config = parse_arguments(metadata["config"], str(path)) if "config" in metadata else None
    if is_biggan(bare):
        family, config = BIGGAN, config or _biggan_config(source)
    stored = state if state.keys() != bare.keys() else None
    return Weights(bare, config, family, public(source), digest, path, stored)


def _converted(path: Path, digest: str, source: str) -> Path:
    """The safetensors of the file ``path``, made now if there is none that is as it was made."""
    folder = cache_folder()
    target = private(folder / "converted" / f"{digest}-v{VERSION}.safetensors", folder)
    if not intact(target):
        with locked(target):
            if not intact(target):  # another process may have made it meanwhile
                try:
                    _make(target, path, digest, source)
                except BaseException:
                    target.unlink(missing_ok=True)
                    raise
    return target


def _make(target: Path, path: Path, digest: str, source: str) -> None:
    """Convert ``path``, whose SHA-256 is ``digest``, and record what became of it."""
    before = path.stat()
    readable = public(source).encode(errors="replace").decode()  # JSON has no other bytes
    made = convert_apart(path, target, {"source": readable, "sha256": digest})
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise RosettaError(f"{path} changed while it was read.\nTry again when it is complete.")
    state, metadata = _read_safetensors(target, path)
    if metadata.get("family") == BIGGAN and (config := _biggan_config(source)):
        save_tensors(target, state, metadata | {"config": json.dumps(config)})
        made = sha256_of(target)
    record_digest(target, made)


def convert_apart(path: Path, target: Path, metadata: Mapping[str, str]) -> str:
    """:func:`rosetta_lab.models.checkpoints.child.convert` in a process that has its limits.

    Raises:
        RosettaError: what that raises; or the process has met a limit, or died.
    """
    size = path.stat().st_size
    arguments = [str(PACKAGE.parent), str(path), str(target), json.dumps(metadata)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", CHILD, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | threads,
            timeout=PATIENCE + 2 * seconds(size),
        )
        output, reason = child.stdout, f"status {child.returncode}"
    except subprocess.TimeoutExpired:
        output, reason = b"", "no end in sight"
    for line in output.splitlines():
        match json.loads(line):
            case {"warning": str(text)}:
                log.warning("%s", text)
            case {"error": str(text)}:
                raise RosettaError(text)
            case {"sha256": str(digest)}:
                return digest
    raise RosettaError(
        f"{path}: refused: reading it takes more time or memory than a file of its size can need "
        f"({reason}).\nGet the checkpoint from its official source, and pass weights=PATH."
    )


def _is_safetensors(path: Path) -> bool:
    """Whether ``path`` starts with the length of a JSON header and its opening brace."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path, subject: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes of a file: under proper names, of plain types, without NaN.

    Args:
        path: of the file.
        subject: whose weights these are, for messages.
    """
    budget = Budget(path.stat().st_size)
    state: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                budget.spend(PER_TENSOR)
                state[name_of(name)] = file.get_tensor(name)
            metadata = file.metadata() or {}
        for name, tensor in state.items():
            if not is_plain(tensor):
                raise RosettaError(
                    f"{name} is of {tensor.dtype}; expected a plain tensor of numbers.\n"
                    "Get the weights in single or half precision."
                )
    except Exception as error:  # any kind, since the file may hold anything
        raise explained(error, str(subject)) from error
    refuse_nan(state, str(subject))
    return state, metadata


def refuse_nan(state: Mapping[str, Tensor], source: str) -> None:
    """Raise if any number is none; infinite ones, as masks have, are only mentioned."""
    floats = {name: t for name, t in state.items() if t.is_floating_point() and t.numel()}
    broken = [name for name, tensor in floats.items() if bool(tensor.isnan().any())]
    if broken:
        raise RosettaError(
            f"{source}: {len(broken)} of {len(state)} tensors hold NaN ({', '.join(broken[:3])}): "
            "the training has failed, or the file is damaged.\nChoose other weights."
        )
    infinite = [name for name, tensor in floats.items() if bool(tensor.isinf().any())]
    if infinite:
        log.warning("%s: infinite numbers in %s", source, ", ".join(infinite[:3]))


def _biggan_config(source: str) -> dict[str, Any] | None:
    """The config that is published beside ``...pytorch_model.bin``, if there is one.

    A copy of the weights alone will do where the configuration describes the network.
    """
    if not source.endswith("pytorch_model.bin"):
        return None
    beside = source.removesuffix("pytorch_model.bin") + "config.json"
    try:
        path, _ = fetch(beside)
    except RosettaError:
        if is_remote(beside):
            raise
        log.info("there is no %s, so nothing checks the configuration of the network", beside)
        return None
    return biggan_arguments(parse_arguments(path.read_text(errors="replace"), str(path)))
