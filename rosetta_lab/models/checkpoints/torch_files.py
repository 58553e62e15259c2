"""Files of ``torch.save``, read with torch's own restricted reader."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import MAX_EXPANSION
from rosetta_lab.models.checkpoints.rules import Record

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how files older than torch 1.6 begin


def read_torch(path: Path) -> Any:
    """Contents of a file of ``torch.save``: tensors, numbers, text and containers of those.

    Training options (``argparse.Namespace``), which many checkpoints carry, become inert records.

    Raises:
        RosettaError: the file asks for anything else, is damaged, or claims an absurd size.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        _check_archive(path)
    try:
        with torch.serialization.safe_globals([(Record, "argparse.Namespace")]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any kind, since the file may hold anything
        raise explained(error, str(path)) from error


def explained(error: Exception, subject: str) -> RosettaError:
    """What torch's reader did not like about ``subject``, in our words."""
    text = " ".join(str(error).split()) or type(error).__name__
    if match := re.search(r"(?:GLOBAL|[Uu]nsupported (?:class|operand)) ([\w.]+)", text):
        wanted = match[1] if "." in match[1] else f"builtins.{match[1]}"
        return RosettaError(
            f"{subject}: refused: the pickle asks for {wanted}, which no network needs. "
            "Nothing was run.\n"
            "Get a file with the bare state dict, or safetensors, and pass weights=PATH."
        )
    return RosettaError(
        f"{subject}: damaged, truncated or not a checkpoint: {text[-200:]}\n"
        "Delete it and download it again."
    )


def _check_archive(path: Path) -> None:
    """Refuse archives of code, and those that unpack to far more than they are."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise RosettaError(
            f"{path}: damaged or truncated: {error}.\nDelete it and download it again."
        ) from error
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_EXPANSION * size:
        raise RosettaError(
            f"{path}: refused: {size:,} bytes that claim to unpack to {unpacked:,}.\n"
            "No checkpoint shrinks like that; get it from its official source."
        )
    names = {entry.filename.rsplit("/", 1)[-1] for entry in entries}
    if "constants.pkl" in names:
        raise RosettaError(
            f"{path} is a TorchScript archive, which carries code.\n"
            "Get the same model as a state dict or safetensors and pass weights=PATH."
        )
    if "data.pkl" not in names:
        raise RosettaError(
            f"{path} is a zip archive without a checkpoint in it.\n"
            "Unpack it and pass weights=PATH with the file inside."
        )
