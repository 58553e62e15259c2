"""The public generators' configs: what they record, how their latents are drawn, and no network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from cases import first
from commands import process
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from scipy import stats

from rosetta_lab.data.latents import sample_z
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.load import apply_overrides, load_latents
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import resolve_layers

CONF = asset_root() / "conf"

# Layers and units that the published reference code recorded, counted on the official networks.
# Without StyleGAN-XL's image (3 units), which it recorded beside the layer that makes it.
REFERENCE = {
    "stylegan_xl": (32, 26434 - 3),
    "stylegan2_lsun_cat": (18, 4882),
    "stylegan2_lsun_horse": (18, 4882),
    "biggan": (53, 23296),
    "stylegan3_ffhq": (16, 9893),
    "stylegan3_afhq": (16, 10973),
}


@pytest.fixture(scope="module", autouse=True)
def hydra_in_conf() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str) -> DictConfig:
    return apply_overrides(compose("mine", list(overrides)))


@cache
def without_memory(name: str) -> Generator:
    with torch.device("meta"):
        generator: Generator = instantiate(compose("mine", [f"gen={name}"]).gen.network)
    return generator.eval()


def channels(generator: Generator, layers: list[str]) -> int:
    """Units of the layers, from one pass without memory."""
    z = torch.empty(1, generator.z_dim, device="meta")
    label = torch.zeros(1, dtype=torch.long, device="meta")
    with record(generator, layers) as activations, torch.no_grad():
        generator(z, generator.one_hot(label))
    return sum(maps.shape[1] for maps in activations.values())


@pytest.mark.parametrize("name", first(2, REFERENCE))
def test_reference_layers(name: str) -> None:
    cfg = composed(f"gen={name}", "layers=reference")
    generator = without_memory(name)
    layers = resolve_layers(generator, cfg.gen.layers, name)
    assert (len(layers), channels(generator, layers)) == REFERENCE[name]


@pytest.mark.parametrize("name", ["stylegan_xl", "stylegan3_ffhq", "stylegan3_afhq"])
def test_alias_free_layers_leave_out_what_has_no_nonlinearity(name: str) -> None:
    generator = without_memory(name)
    reference = resolve_layers(generator, composed(f"gen={name}").gen.reference_layers, name)
    layers = resolve_layers(generator, composed(f"gen={name}").gen.layers, name)
    assert layers == reference[1:-1]
    assert generator.get_submodule(reference[-1]).geometry.to_rgb


def test_biggan_is_recorded_after_relu() -> None:
    """Every convolution's input, from self-attention's apart, is a ReLU's output."""
    cfg = composed("gen=biggan")
    torch.manual_seed(0)
    blocks = [(False, 2, 2), (True, 2, 2), (True, 2, 1)]
    generator = BigGANDeep(16, 6, 16, 5, blocks, attention_layer_position=1, n_stats=3).eval()
    layers = resolve_layers(generator, cfg.gen.layers, "biggan")
    assert len(layers) == 4 * len(blocks) + 1
    with record(generator, layers) as activations, torch.no_grad():
        generator(torch.randn(2, 6), torch.eye(5)[:2])
    for layer, maps in activations.items():
        assert maps.min() == 0.0 < maps.max(), layer


@pytest.mark.parametrize(
    ("name", "bound"),
    [("stylegan_xl", 1.0), ("stylegan2_lsun_horse", 1.0), ("biggan", 1.0), ("stylegan3_ffhq", 9.0)],
)
def test_latents_follow_their_distribution(name: str, bound: float) -> None:
    cfg = composed(f"gen={name}", "num_images=40", "seed=3")
    batch = load_latents(cfg, without_memory(name)).batch(list(range(40)))
    expected = stats.norm if bound > 8 else stats.truncnorm(-bound, bound)
    assert batch.z.abs().max() <= bound
    assert stats.kstest(batch.z.flatten().numpy(), expected.cdf).pvalue > 0.01


def test_biggan_truncates_latents_and_statistics_by_one_number() -> None:
    generator = without_memory("biggan")
    full = load_latents(composed("gen=biggan", "num_images=3"), generator).batch([0, 1, 2]).z
    cfg = composed("gen=biggan", "num_images=3", "psi=0.4")
    assert cfg.psi == cfg.gen.latent.scale == 0.4
    torch.testing.assert_close(load_latents(cfg, generator).batch([0, 1, 2]).z, 0.4 * full)


def test_scale() -> None:
    for how in (("normal", 1.0), ("truncated_normal", 2.0)):
        plain, scaled = (sample_z(1, 2, 50, *how, scale) for scale in (1.0, 0.3))
        torch.testing.assert_close(scaled, 0.3 * plain)


def test_layers_of_single_models_still_work() -> None:
    cfg = composed("gen=biggan", "layers={biggan: generator.conv_to_rgb, mae_fashion: [norm]}")
    assert cfg.gen.layers == ["generator.conv_to_rgb"]
    assert cfg.disc.mae_fashion.layers == ["norm"]
    assert cfg.disc.resnet_fashion.layers == ["layer*.*"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("layers=refrence", "layers=refrence: expected 'reference'"),
        ("layers=[layer1]", "expected 'reference'"),
        ("layers={resnet_fashio: [layer1]}", "there is no model 'resnet_fashio'"),
    ],
)
def test_other_layers_are_refused(override: str, message: str) -> None:
    with pytest.raises(RosettaError, match=message):
        composed("gen=biggan", override)


def test_reference_layers_that_nobody_has() -> None:
    with pytest.raises(RosettaError, match=r"none of dcgan_faces, resnet_fashion.* has reference"):
        composed("gen=dcgan_faces", "layers=reference")


@pytest.mark.slow
def test_offline_with_nothing_cached(tmp_path: Path) -> None:
    """One message: the URL, the cache folder, and the way out."""
    cache_folder = tmp_path / "empty cache"
    nothing = {"ROSETTA_CACHE": str(cache_folder), "ROSETTA_OFFLINE": "1"}
    done = process("mine", "gen=stylegan_xl", "num_images=2", cwd=tmp_path, **nothing)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in said
    url = compose("mine", ["gen=stylegan_xl"]).gen.weights
    for words in (url, str(cache_folder), "weights=PATH"):
        assert said.count(words) == 1
