"""What the tests of the checkpoint formats have in common."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from checkpoint_files import Golden
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.checkpoints import Weights, child, convert, load_into, load_weights
from rosetta_lab.models.checkpoints.download import fetch


def private(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own; files are converted in this process, which takes no time to start.

    What a process of its own adds is tested in ``test_apart.py``.
    """
    monkeypatch.setenv("ROSETTA_CACHE", str(cache))
    monkeypatch.setattr(convert, "convert_apart", child.convert)


@contextmanager
def no_room() -> Iterator[None]:
    """No file can grow beyond a kilobyte, to this process and those that it starts.

    The error is that of a full disk but for its name.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fetched(source: str, **options: str) -> Path:
    """The local file behind a source."""
    return fetch(source, **options)[0]


def fails(source: str, **options: str) -> str:
    """The message of a source that cannot be had."""
    with pytest.raises(RosettaError) as caught:
        fetched(source, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 2
    return message


def leftovers(cache: Path) -> list[str]:
    """Names of files that are neither finished nor locks."""
    finished = ("model.pkl", "model.pkl.sha256", "model.pkl.lock")
    return [p.name for p in cache.rglob("*") if p.is_file() and p.name not in finished]


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def assert_same_state(weights: Weights, expected: dict[str, Tensor]) -> None:
    assert weights.state_dict.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights.state_dict[name], value), name
        assert weights.state_dict[name].shape == value.shape, name


def assert_close(ours: Tensor, golden: Tensor) -> None:
    assert (ours - golden).abs().max() <= 1e-4 * golden.std()


def assert_same_images(kind: type[Generator], weights: Weights, golden: Golden) -> None:
    """The generator that the file itself describes paints the golden images."""
    assert weights.config is not None
    generator = kind(**weights.config).eval()
    load_into(generator, weights)
    z, c = golden.tensors["in/z"], golden.tensors.get("in/c")
    with torch.no_grad():
        for key, psi in {"image_psi1": 1.0, "image_psi07": 0.7}.items():
            assert_close(generator(z, c, psi), golden.tensors[f"out/{key}"])


def twice(source: str) -> list[Weights]:
    """Weights as converted, again from the cache, and from the converted file itself."""
    weights = load_weights(source)
    (converted,) = Path(source).parent.glob("cache/converted/*.safetensors")
    assert weights.sha256 in converted.name
    again = load_weights(source)
    direct = load_weights(str(converted))
    assert direct.config == again.config == weights.config
    assert direct.family == again.family == weights.family
    return [weights, again, direct]
