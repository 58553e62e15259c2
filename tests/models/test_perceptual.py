"""Perceptual distances: against the package lpips, and the same formula on other networks."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lpips
import pytest
import torch
import toy
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.perceptual import LPIPS, TRUNKS, LayerPerceptual, Perceptual

CONF = asset_root() / "conf"
NAMES = sorted(path.stem for path in (CONF / "perceptual").glob("*.yaml"))


def images(seed: int, size: int = 64, count: int = 2) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["vgg", "alex"])
def pair(request: Any) -> tuple[LPIPS, Any]:
    """Ours and the package's own, with the same random network and the published heads."""
    torch.manual_seed(0)
    ours = LPIPS(request.param, "random")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in an old way
        theirs = lpips.LPIPS(net=request.param, pnet_rand=True, verbose=False)
    trunk = {
        key.split(".", 1)[1]: value for key, value in theirs.net.named_parameters()
    }  # slice2.5.weight is features.5.weight
    assert trunk.keys() == dict(ours.network.named_parameters()).keys()
    for key, value in trunk.items():
        value.data.copy_(ours.network.get_parameter(key))
    return ours, theirs


def test_equals_the_package(pair: tuple[LPIPS, Any]) -> None:
    ours, theirs = pair
    x, y = images(1).requires_grad_(), images(2)
    expected = theirs(x, y, normalize=True)[:, 0, 0, 0]
    distance = ours(x, y)
    assert distance.shape == (2,) and (distance > 1e-3).all()
    torch.testing.assert_close(distance, expected, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(
        torch.autograd.grad(distance.sum(), x)[0],
        torch.autograd.grad(expected.sum(), x)[0],
        rtol=1e-3,
        atol=1e-7,
    )


def test_larger_images_are_brought_down_first() -> None:
    torch.manual_seed(0)
    distance = LPIPS("alex", "random", max_size=64)
    x, y = images(1, 64), images(2, 64)
    large = [image.repeat_interleave(2, 2).repeat_interleave(2, 3) for image in (x, y)]
    assert [maps.shape for maps in distance.embed(large[0])] == [
        maps.shape for maps in distance.embed(x)
    ]
    shape = distance.embed(images(1, 160)[:, :, :80])[0].shape
    assert shape == distance.embed(x[:, :, :32])[0].shape  # the longer side counts
    grating = torch.zeros(1, 3, 128, 128)
    grating[..., ::2] = 1.0  # too fine for the smaller size: has to become plain grey
    flat = torch.full((1, 3, 64, 64), 0.5)
    assert distance(grating[..., :64, :64], flat) > 10 * distance(grating, flat)


def test_only_the_published_weights_are_comparable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    random = LPIPS("alex", "random")
    assert not caplog.records
    state = {f"features.{key}": value for key, value in random.network.state_dict().items()}
    state["classifier.1.weight"] = torch.zeros(3, 3)  # torchvision's file has more than we need
    torch.save(state, tmp_path / "alexnet-owt-7be5be79.pth")
    file = tmp_path / "alexnet-owt-7be5be79.pth"
    loaded = LPIPS("alex", str(file))
    assert "is not the file that LPIPS was made with (SHA-256 7be5be79...)" in caplog.text
    caplog.clear()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(TRUNKS, "alex", TRUNKS["alex"]._replace(sha256=digest[:8]))
    LPIPS("alex", str(file))
    assert not caplog.records
    x, y = images(1), images(2)
    assert torch.equal(loaded(x, y), random(x, y))


def test_published_configs_name_what_they_were_made_with() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for network, digits in {"vgg": "397923af", "alex": "7be5be79"}.items():
            cfg = compose("zoo_samples", [f"+perceptual=lpips_{network}"]).perceptual
            assert cfg.network == network and f"-{digits}.pth" in cfg.weights


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(RosettaError, match=r"'squeeze'.*vgg, alex"):
        LPIPS("squeeze", "random")  # type: ignore[arg-type]


# The same formula on other networks


def manual(model: toy.ToyModel, x: Tensor, y: Tensor) -> float:
    """Position by position, for one pair of images."""
    total = 0.0
    network: Any = model.network
    for layer in ("copy", "mix"):
        features = []
        for image in (x, y):
            inputs = model.preprocess(image[None])
            maps = network.copy(inputs)
            features.append((network.mix(maps) if layer == "mix" else maps)[0])
        _, height, width = features[0].shape
        for i in range(height):
            for j in range(width):
                a, b = (f[:, i, j] / max(float(f[:, i, j].norm()), 1e-10) for f in features)
                total += 0.1 * float(((a - b) ** 2).sum()) / (height * width)
    return total


def test_formula() -> None:
    model = toy.ToyModel()
    distance = LayerPerceptual("toy", model, ["copy", "mix"])
    x, y = images(1, 8), images(2, 8)
    expected = [manual(model, a, b) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(distance(x, y), torch.tensor(expected), rtol=1e-5, atol=1e-7)
    assert torch.equal(distance(x, x), torch.zeros(2))
    assert distance.name == "toy"


def test_gradients_reach_the_images_through_the_preprocessing() -> None:
    distance = LayerPerceptual("toy", toy.ToyModel(), ["mix"]).double()
    target = distance.embed(images(2, 8).double())

    def loss(x: Tensor) -> Tensor:
        return distance.distance(distance.embed(x), target)

    x = (0.2 + 0.6 * images(1, 8).double()).requires_grad_()
    assert torch.autograd.gradcheck(loss, x)
    assert not any(p.requires_grad for p in distance.parameters())


def test_where_no_unit_fires_gradients_stay_finite() -> None:
    distance = LayerPerceptual("toy", toy.ToyModel(), ["copy"])
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    x.data[..., 4:] = 0.5
    distance(x, images(1, 8, 1)).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(RosettaError, match=r"nowhere.*"):
        LayerPerceptual("toy", toy.ToyModel(), ["nowhere.*"])


@pytest.fixture(scope="module")
def hydra_in_conf() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.mark.usefixtures("hydra_in_conf")
@pytest.mark.parametrize("name", NAMES)
def test_config(name: str) -> None:
    """It instantiates under any key, and gives finite distances with gradients at 64 pixels."""
    cfg = compose("zoo_samples", [f"+perceptual@judge={name}"]).judge
    assert cfg.name == name
    (cfg.model if "model" in cfg else cfg).weights = "random"
    torch.manual_seed(0)
    distance: Perceptual = instantiate(cfg)
    x, y = images(1).requires_grad_(), images(2)
    result = distance(x, y)
    assert result.shape == (2,) and (result > 0.0).all()
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0.0
    assert len(distance.embed(y)) >= 3
