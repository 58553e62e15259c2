"""Sizes, sampling rates and bandwidths of the alias-free generators, layer by layer.

Pure arithmetic, no weights (Karras et al., NeurIPS 2021, appendix C; for the superresolution
stages Sauer et al., SIGGRAPH 2022, section 3.2). Frequencies are in cycles per image width, rates
in samples per image width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.generators.filters import lowpass, radial_lowpass

FILTER_SIZE = 6  # taps per unit of up- or downsampling
LRELU_UPSAMPLING = 2  # the nonlinearity runs at this multiple of the higher of the two rates


@dataclass(frozen=True)
class Signal:
    """The maps between two layers, seen as a sampled signal.

    Attributes:
        channels: number of maps.
        size: height and width in samples, the margin included.
        rate: samples per image width.
        cutoff: highest frequency of the content.
        half_width: half of the width of the transition band above and below ``cutoff``.
    """

    channels: int
    size: int
    rate: int
    cutoff: float
    half_width: float

    @property
    def margin(self) -> int:
        """Samples on each side that lie outside the image."""
        return (self.size - self.rate) // 2


@dataclass(frozen=True)
class LayerGeometry:
    """One synthesis layer: what comes in, what goes out, and the resampling between them.

    Attributes:
        name: official module name, ``L{index}_{size}_{channels}``.
        source: signal that comes in.
        target: signal that goes out.
        conv_kernel: side of the convolution kernel.
        conv_clamp: activations are clamped to ``[-conv_clamp, conv_clamp]``; None for no clamp.
        radial: the filter before downsampling is rotation-symmetric.
        critical: critically sampled, the bandwidth goes right up to the Nyquist frequency.
        to_rgb: the last layer, a projection to colours without filters or nonlinearity.
    """

    name: str
    source: Signal
    target: Signal
    conv_kernel: int
    conv_clamp: float | None
    radial: bool
    critical: bool
    to_rgb: bool

    @property
    def rate(self) -> int:
        """Sampling rate at which the nonlinearity is applied."""
        return (1 if self.to_rgb else LRELU_UPSAMPLING) * max(self.source.rate, self.target.rate)

    @property
    def up(self) -> int:
        """Ratio of the working rate to the rate that comes in."""
        return self.rate // self.source.rate

    @property
    def down(self) -> int:
        """Ratio of the working rate to the rate that goes out."""
        return self.rate // self.target.rate

    @property
    def crop(self) -> int:
        """Samples to leave out on each side after upsampling, to end at the target's size."""
        convolved = self.source.size + self.conv_kernel - 1
        available = (convolved - 1) * self.up + self.up * FILTER_SIZE
        needed = (self.target.size - 1) * self.down + self.down * FILTER_SIZE
        return (available - needed) // 2

    def up_filter(self) -> Tensor:
        """Separable filter (taps,) after the zero insertion."""
        source = self.source
        return lowpass(self.up * FILTER_SIZE, source.cutoff, source.half_width, self.rate)

    def down_filter(self) -> Tensor:
        """Filter (taps,) or, with ``radial``, (taps, taps) before decimation."""
        design = radial_lowpass if self.radial else lowpass
        target = self.target
        return design(self.down * FILTER_SIZE, target.cutoff, target.half_width, self.rate)


@dataclass(frozen=True)
class SuperresStage:
    """One superresolution stage of StyleGAN-XL.

    Attributes:
        img_resolution: height and width after the stage.
        head_layers: layers that it adds before its own toRGB layer.
        up_factor: ratio of the resolution to that before the stage.
    """

    img_resolution: int
    head_layers: int = 7
    up_factor: int = 2


@dataclass(frozen=True)
class Progression:
    """How bandwidth and size grow from the first layer to the image.

    Attributes:
        img_resolution: height and width of the image, a power of two.
        img_channels: colours.
        channel_base: a layer of cutoff f has ``min(channel_base / 2 / f, channel_max)`` channels.
        channel_max: see ``channel_base``.
        num_layers: layers before the toRGB layer.
        num_critical: how many of them, at the end, are critically sampled.
        first_cutoff: cutoff of the first layer.
        first_stopband: frequency from which the first layer's filters suppress everything.
        last_stopband_rel: the same for the last layer, relative to its cutoff.
        margin_size: samples that the maps extend beyond the image on each side.
        conv_kernel: side of the convolution kernels.
        use_radial_filters: rotation-symmetric filters before downsampling.
        conv_clamp: see :class:`LayerGeometry`.

    Raises:
        RosettaError: for a resolution that is no power of two, or too few layers.
    """

    img_resolution: int
    img_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2.0**2.1
    last_stopband_rel: float = 2.0**0.3
    margin_size: int = 10
    conv_kernel: int = 3
    use_radial_filters: bool = False
    conv_clamp: float | None = 256.0

    def __post_init__(self) -> None:
        if self.img_resolution < 2 or self.img_resolution & (self.img_resolution - 1):
            raise RosettaError(
                f"img_resolution={self.img_resolution} is no power of two, which an alias-free "
                "generator needs."
            )
        if self.num_layers <= max(self.num_critical, 2):
            raise RosettaError(
                f"num_layers={self.num_layers} is too few for {self.num_critical} critically "
                f"sampled layers; expected at least {max(self.num_critical, 2) + 1}."
            )

    def signals(self, ramp: int, start: Signal | None = None) -> list[Signal]:
        """Signals after layers 0 to ``num_layers`` (the last is the image).

        Args:
            ramp: index from which on the bandwidth is the image's.
            start: signal to continue from, whose rate and channels the first one keeps.
        """
        nyquist = self.img_resolution / 2
        last_stopband = nyquist * self.last_stopband_rel
        signals = []
        for index in range(self.num_layers + 1):
            exponent = min(index / ramp, 1)
            cutoff = self.first_cutoff * (nyquist / self.first_cutoff) ** exponent
            stopband = self.first_stopband * (last_stopband / self.first_stopband) ** exponent
            rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.img_resolution)))
            channels = round(min(self.channel_base / 2 / cutoff, self.channel_max))
            if index == 0 and start is not None:
                rate, channels = start.rate, start.channels
            size = rate + 2 * self.margin_size
            if index >= self.num_layers - 1:
                size = self.img_resolution
            if index == self.num_layers:
                channels = self.img_channels
            signals.append(Signal(channels, size, rate, cutoff, max(stopband, rate / 2) - cutoff))
        return signals

    def layers(self) -> list[LayerGeometry]:
        """The layers of a generator that starts from the Fourier features, in order."""
        return self._connect(self.signals(self.num_layers - self.num_critical), first_index=0)

    def extended(self, stages: Sequence[SuperresStage]) -> list[LayerGeometry]:
        """The layers after superresolution stages, each of which replaces the critical ones.

        Raises:
            RosettaError: when a stage's resolution and ``up_factor`` contradict each other.
        """
        layers, resolution = self.layers(), self.img_resolution
        for stage in stages:
            if stage.img_resolution != resolution * stage.up_factor:
                raise RosettaError(
                    f"A stage of {stage.img_resolution} px with up_factor={stage.up_factor} "
                    f"cannot follow one of {resolution} px; "
                    f"expected img_resolution={resolution * stage.up_factor}."
                )
            resolution = stage.img_resolution
            kept = [layer for layer in layers if not layer.critical]
            start = kept[-1].target
            head = replace(
                self,
                img_resolution=resolution,
                num_layers=stage.head_layers,
                first_cutoff=start.cutoff,
                first_stopband=start.half_width + start.cutoff,
                conv_clamp=256.0,
            )
            # The official numbering leaves one number out after the kept layers.
            layers = kept + head._connect(head.signals(stage.head_layers - 2, start), len(kept) + 1)
        return layers

    def _connect(self, signals: list[Signal], first_index: int) -> list[LayerGeometry]:
        """Layers between consecutive signals; the first one maps its signal to itself."""
        layers = []
        for index, (source, target) in enumerate(
            zip([signals[0], *signals], signals, strict=False)
        ):
            critical = index >= self.num_layers - self.num_critical
            to_rgb = index == self.num_layers
            layers.append(
                LayerGeometry(
                    name=f"L{first_index + index}_{target.size}_{target.channels}",
                    source=source,
                    target=target,
                    conv_kernel=1 if to_rgb else self.conv_kernel,
                    conv_clamp=self.conv_clamp,
                    radial=self.use_radial_filters and not critical,
                    critical=critical,
                    to_rgb=to_rgb,
                )
            )
        return layers
