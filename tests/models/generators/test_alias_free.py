"""Filters, geometry and margins of the StyleGAN3 family, and the sizes of the real networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.generators.filters import (
    downsample,
    kaiser_beta,
    lowpass,
    radial_lowpass,
    upsample,
)
from rosetta_lab.models.generators.geometry import LayerGeometry, Progression, SuperresStage
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL
from rosetta_lab.models.recording import record

CONFIG_R = {
    "channel_base": 65536,
    "channel_max": 1024,
    "conv_kernel": 1,
    "use_radial_filters": True,
}
STAGES = [SuperresStage(size, head_layers=7, up_factor=2) for size in (32, 64, 128, 256)]


def names(layers: list[LayerGeometry]) -> list[str]:
    return [layer.name for layer in layers]


def units(layers: list[LayerGeometry]) -> int:
    """Channels of the input layer and all synthesis layers."""
    return layers[0].source.channels + sum(layer.target.channels for layer in layers)


@pytest.mark.parametrize("taps", [6, 12, 24])
@pytest.mark.parametrize("transition", [0.01, 0.3, 1.2])
def test_kaiser_beta(taps: int, transition: float) -> None:
    attenuation = scipy.signal.kaiser_atten(taps, transition)
    assert kaiser_beta(taps, transition) == pytest.approx(scipy.signal.kaiser_beta(attenuation))


@pytest.mark.parametrize(
    ("taps", "cutoff", "half_width", "rate"),
    [(12, 2.0, 6.0, 32), (24, 4.6, 3.4, 64), (12, 256.0, 59.2, 1024), (12, 2.0, 0.1, 32)],
)
def test_lowpass(taps: int, cutoff: float, half_width: float, rate: float) -> None:
    expected = scipy.signal.firwin(taps, cutoff, width=2 * half_width, fs=rate)
    np.testing.assert_allclose(lowpass(taps, cutoff, half_width, rate), expected, atol=1e-7)


def test_radial_lowpass_is_the_same_in_every_direction() -> None:
    taps, cutoff, half_width, rate = 12, 8.0, 7.0, 64
    kernel = radial_lowpass(taps, cutoff, half_width, rate).double().numpy()
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-9)
    x = (np.arange(taps) - (taps - 1) / 2) / rate

    def response(frequency: float, angle: float) -> float:
        wave = frequency * (math.cos(angle) * x[None] + math.sin(angle) * x[:, None])
        return float((kernel * np.cos(2 * math.pi * wave)).sum())

    angles = np.linspace(0, math.pi / 2, 7)
    np.testing.assert_allclose([response(0, angle) for angle in angles], 1)
    half = [response(cutoff, angle) for angle in angles]  # short filters fall short of 0.5
    assert 0.4 < min(half) <= max(half) < min(half) + 0.02
    assert max(abs(response(cutoff + half_width, angle)) for angle in angles) < 0.02


def test_upsample() -> None:
    x, taps = torch.randn(2, 3, 5, 7), torch.rand(12)
    up = x.numpy()
    for axis in (2, 3):
        up = scipy.signal.upfirdn(taps.numpy() * 2, up, up=2, axis=axis)
    assert up.shape == (2, 3, 4 * 2 + 12, 6 * 2 + 12)
    np.testing.assert_allclose(
        upsample(x, taps, 2, crop=3, gain=1.5), 1.5 * up[:, :, 3:-3, 3:-3], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("radial", [False, True])
def test_downsample(radial: bool) -> None:
    x = torch.randn(1, 2, 15, 22)
    taps = lowpass(6, 2.0, 1.0, 8)
    kernel = torch.outer(taps, taps) if radial else taps
    down = x.numpy()
    for axis in (2, 3):
        full = scipy.signal.upfirdn(taps.numpy(), down, axis=axis)
        valid = np.arange(5, down.shape[axis])  # where the filter lies wholly inside
        down = full.take(valid[::2], axis)
    np.testing.assert_allclose(downsample(x, kernel, 2), down, rtol=1e-4, atol=1e-6)


AFHQ_512_R = """
    L0_36_1024 L1_36_1024 L2_52_1024 L3_52_1024 L4_84_1024 L5_84_1024 L6_148_1024 L7_148_967
    L8_276_645 L9_276_431 L10_532_287 L11_532_192 L12_532_128 L13_512_128 L14_512_3
"""
FFHQ_1024_R = """
    L0_36_1024 L1_36_1024 L2_52_1024 L3_52_1024 L4_84_1024 L5_148_1024 L6_148_1024 L7_276_645
    L8_276_406 L9_532_256 L10_1044_161 L11_1044_102 L12_1044_64 L13_1024_64 L14_1024_3
"""


@pytest.mark.parametrize(
    ("resolution", "expected", "count"), [(512, AFHQ_512_R, 10973), (1024, FFHQ_1024_R, 9893)]
)
def test_published_stylegan3_r(resolution: int, expected: str, count: int) -> None:
    layers = Progression(resolution, **CONFIG_R).layers()
    assert names(layers) == expected.split()
    assert units(layers) == count


def test_xl_imagenet_256() -> None:
    stem = Progression(16, channel_base=65536, channel_max=1024, num_layers=10)
    layers = stem.extended(STAGES)
    assert len(layers) == 31
    assert names(layers)[7:9] == ["L7_36_1024", "L9_36_1024"]
    assert names(layers)[-3:] == ["L29_276_256", "L30_256_256", "L31_256_3"]
    assert units(layers) == 26431


def test_default_xl_is_the_imagenet_stem() -> None:
    superres = [{"img_resolution": s.img_resolution} for s in STAGES]
    with torch.device("meta"):
        generator = StyleGANXL(superres=superres)
    assert generator.resolution == 256
    assert generator.synthesis.num_ws == 32
    assert generator.mapping.embed.weight.shape == (1000, 320)
    assert generator.mapping.w_avg.shape == (1000, 512)
    assert generator.synthesis.input.weight.shape == (1024, 1024)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: Progression(48), "img_resolution=48"),
        (lambda: Progression(64, num_layers=2), "num_layers=2"),
        (lambda: Progression(16).extended([SuperresStage(64)]), "expected img_resolution=32"),
        (lambda: Progression(16).extended([SuperresStage(32, head_layers=1)]), "num_layers=1"),
    ],
)
def test_mistakes(mistake: object, message: str) -> None:
    with pytest.raises(RosettaError, match=message):
        mistake()  # type: ignore[operator]


def tiny(kernel: int, num_layers: int = 6) -> StyleGAN3:
    return StyleGAN3(
        z_dim=8,
        w_dim=8,
        img_resolution=64,
        channel_base=512,
        channel_max=4,
        num_layers=num_layers,
        conv_kernel=kernel,
        use_radial_filters=kernel == 1,
    ).eval()


def wave(frequency: Tensor, phase: Tensor, size: int) -> Tensor:
    """Sine wave (size, size) over an image that spans [-0.5, 0.5] in both directions."""
    p = (torch.arange(size) + 0.5) / size - 0.5
    return (2 * math.pi * (frequency[0] * p[None] + frequency[1] * p[:, None] + phase)).sin()


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_aligned_maps_cover_exactly_the_image(kernel: int) -> None:
    """Passed on unchanged from layer to layer, a wave lies where it does in the image."""
    torch.manual_seed(0)
    generator = tiny(kernel)
    synthesis = generator.synthesis
    synthesis.input.freqs.copy_(torch.tensor([[0.9, -0.5], [1.2, 0.3], [-0.4, 1.0], [0.2, 0.7]]))
    synthesis.input.weight.copy_(torch.eye(4))
    for name in synthesis.layer_names:
        layer = synthesis.get_submodule(name)
        centre = layer.weight.shape[-1] // 2
        layer.affine.weight.zero_()  # styles are 1, whatever w is
        layer.weight.zero_()
        for channel in range(len(layer.weight)):
            layer.weight[channel, channel, centre, centre] = 1
        layer.bias.fill_(5.0)  # keeps the leaky ReLU on its linear side
    layers = ["synthesis.input"]
    for name in synthesis.layer_names:
        layers += [f"synthesis.{name}:input", f"synthesis.{name}"]
    with record(generator, layers) as activations:
        image = generator(torch.randn(1, 8))

    sizes = set()
    for name in layers:
        aligned = generator.align(name, activations[name])
        size = aligned.shape[-1]
        sizes.add((size, activations[name].shape[-1]))
        centre = slice(size // 4, -size // 4)  # away from the zeros around the maps
        for channel in range(3):
            expected = wave(synthesis.input.freqs[channel], synthesis.input.phases[channel], size)
            got = aligned[0, channel]
            fit = correlation(got[centre, centre], expected[centre, centre])
            assert fit > 0.9995, (name, channel)
            shifted = got.roll(1, dims=1)
            assert correlation(shifted[centre, centre], expected[centre, centre]) < fit
    assert image.shape[-1] == 64
    assert sizes == {(16, 36), (32, 52), (64, 84), (64, 64)}


@torch.no_grad()
def test_the_input_transform_moves_the_content() -> None:
    """The stored transform is an inverse one: it says where each output position is read."""
    torch.manual_seed(0)
    generator = tiny(1)
    ws = generator.map(torch.randn(1, 8))
    before = generator.align("synthesis.input", generator.synthesis.input(ws[:, 0]))
    generator.synthesis.input.transform[0, 2] = 4 / 16  # samples of the input layer's 16
    after = generator.align("synthesis.input", generator.synthesis.input(ws[:, 0]))
    torch.testing.assert_close(after[..., :-4], before[..., 4:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_weights_of_several_classes_mix_their_means() -> None:
    generator = StyleGANXL(c_dim=3, channel_max=4, num_layers=5).eval()
    generator.mapping.w_avg.normal_()
    c = torch.tensor([[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]])
    w = generator.map(torch.randn(2, 64), c, psi=0.0)
    means = generator.mapping.w_avg
    expected = torch.stack([means[1], 0.25 * means[0] + 0.75 * means[2]])
    torch.testing.assert_close(w[:, 0], expected)


@torch.no_grad()
def test_unconditional_xl() -> None:
    """Its class table is stored but never read."""
    torch.manual_seed(0)
    generator = StyleGANXL(c_dim=0, channel_max=4, num_layers=5).eval()
    assert "mapping.embed.weight" in generator.state_dict()
    z = torch.randn(2, 64)
    image = generator(z, psi=0.5)
    generator.mapping.embed.weight.fill_(float("nan"))
    assert torch.equal(generator(z, psi=0.5), image)
