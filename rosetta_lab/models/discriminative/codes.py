"""Any linear dictionary on top of a layer as that layer's units: sparse autoencoders, NMF.

A layer's activations at every place are taken apart into codes: by a sparse autoencoder's encoder,
``relu(W x + b)``, perhaps with only the k largest left (Gao et al., 2024, arXiv:2406.04093), or by
weights that are not negative and make x of a dictionary of not negative parts (NMF, Lee and Seung,
1999). Where the file came from does not matter; experiments/sae.py trains one with overcomplete.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_weights
from rosetta_lab.models.discriminative.base import DiscriminativeModel

SWEEPS = 30  # over the dictionary, for codes that are not negative
RANDOM_UNITS = 4  # of random weights, as many times the layer's


class Encoder(nn.Module):
    """Codes ``relu(W x + b)``.

    Args:
        weight: W (U, C).
        bias: b (U,).
        top_k: how many of them are left at every place, the largest; None for all.
    """

    def __init__(self, weight: Tensor, bias: Tensor, top_k: int | None = None) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.top_k = top_k

    def forward(self, x: Tensor) -> Tensor:
        """Activations (..., C) to codes (..., U)."""
        codes = nn.functional.linear(x, self.weight, self.bias).relu()
        if self.top_k is None:
            return codes
        largest = codes.topk(self.top_k, dim=-1)
        return torch.zeros_like(codes).scatter(-1, largest.indices, largest.values)


class NotNegative(nn.Module):
    """Codes z >= 0 for which z D is near x: coordinate descent on |x - z D|^2 (HALS).

    Args:
        dictionary: D (U, C).
    """

    def __init__(self, dictionary: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(dictionary)

    def forward(self, x: Tensor) -> Tensor:
        """Activations (..., C) to codes (..., U)."""
        gram = self.weight @ self.weight.t()  # (U, U)
        like = x @ self.weight.t()  # (..., U)
        codes = torch.zeros_like(like)
        for _ in range(SWEEPS):
            for unit in range(len(gram)):
                rest = like[..., unit] - codes @ gram[:, unit] + codes[..., unit] * gram[unit, unit]
                scale = gram[unit, unit].clamp(min=torch.finfo(x.dtype).tiny)
                codes[..., unit] = (rest / scale).clamp(min=0.0)
        return codes


class AlongUnits(nn.Module):
    """Codes of what a layer puts out, along the axis of its units, in the same layout.

    Args:
        codes: of (..., C).
        axis: where the units are.
    """

    def __init__(self, codes: nn.Module, axis: int) -> None:
        super().__init__()
        self.codes, self.axis = codes, axis

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), (N, H, W, C) or (N, T, C), with U in place of C."""
        found: Tensor = self.codes(x.movedim(self.axis, -1))
        return found.movedim(-1, self.axis)


class WithCodes(nn.Module):
    """A layer as it is, whose codes are computed beside it.

    Args:
        layer: whatever puts out one tensor.
        codes: of it.
    """

    def __init__(self, layer: nn.Module, codes: nn.Module) -> None:
        super().__init__()
        self.layer, self.codes = layer, codes

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the layer puts out."""
        output = self.layer(*given, **named)
        self.codes(output)
        return output


class CodedModel(DiscriminativeModel):
    """A model whose units are the codes of one of its layers.

    Layer ``NAME`` becomes ``NAME.layer``, its codes are ``NAME.codes``.

    Args:
        model: whose layer.
        layer: its name.
        weights: a source of tensors that :func:`rosetta_lab.models.checkpoints.load_weights`
            understands: ``weight`` (U, C) and ``bias`` (U,) of an encoder, or ``dictionary``
            (U, C) of parts that are not negative; ``random`` for an encoder of random directions.
        layers: see :class:`DiscriminativeModel`; None for the codes alone.
        top_k: codes that an encoder leaves at every place; None for all.
        units: U, of random weights; None for four times as many as the layer has.

    Raises:
        RosettaError: there is no such layer, or the tensors are none of a dictionary's.
    """

    def __init__(
        self,
        model: DiscriminativeModel,
        layer: str,
        weights: str,
        layers: Iterable[str] | None = None,
        top_k: int | None = None,
        units: int | None = None,
    ) -> None:
        parent, _, name = layer.rpartition(".")
        try:
            place: Any = model.network.get_submodule(parent)
            own = place.get_submodule(name)
        except AttributeError:
            raise RosettaError(
                f"layer={layer}: the network has no such layer.\nChoose one of its modules' names."
            ) from None
        channels, axis = seen(model, layer)
        source, digest, inputs = "random", "", channels
        if weights == "random":
            directions = torch.randn(units or RANDOM_UNITS * channels, channels) / channels**0.5
            codes: nn.Module = Encoder(directions, torch.zeros(len(directions)), top_k)
        else:
            loaded = load_weights(weights)
            source, digest = loaded.source, both(model.sha256, loaded.sha256)
            codes, inputs = codes_of(loaded.state_dict, source, top_k)
        if inputs != channels:
            raise RosettaError(
                f"{source}: these are codes of {inputs} units, and {layer} has {channels}.\n"
                "Choose the layer that they were made for."
            )
        place._modules[name] = WithCodes(own, AlongUnits(codes, axis))
        super().__init__(
            model.network,
            model.preprocess,
            [f"{layer}.codes"] if layers is None else layers,
            f"{source} on {model.source}",
            digest,
            model.declared,
        )
        self.model = model
        self.num_classes = model.num_classes

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`DiscriminativeModel`."""
        output: Tensor = self.model(images)
        return output

    @property
    def backbone(self) -> nn.Module:
        """See :class:`DiscriminativeModel`."""
        return self.model.backbone

    def at(self, size: tuple[int, int], device: str | None = None) -> DiscriminativeModel:
        """See :class:`DiscriminativeModel`."""
        other = super().at(size, device)
        assert isinstance(other, CodedModel)
        other.model.preprocess = other.preprocess
        return other


@torch.no_grad()
def seen(model: DiscriminativeModel, layer: str) -> tuple[int, int]:
    """How many units a layer has, and on which axis of what it puts out they are."""
    like = next(model.parameters())
    maps = model.maps(like.new_zeros(1, 3, *model.preprocess.size), [layer])[layer]
    layout = model._layouts.get(layer)
    axis = 1 if layout is None else layout.units  # a class of one's own that makes maps itself
    return maps.shape[1], axis


def both(*digests: str) -> str:
    """One digest of several files' digests."""
    return sha256(" ".join(digests).encode()).hexdigest()


def codes_of(tensors: dict[str, Tensor], source: str, top_k: int | None) -> tuple[nn.Module, int]:
    """The codes that a file's tensors describe, and of how many units they are.

    Raises:
        RosettaError: the tensors are none of a dictionary's.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    whole = all(x.is_floating_point() and bool(x.isfinite().all()) for x in tensors.values())
    if whole and shapes.keys() == {"weight", "bias"}:
        units, inputs = (*shapes["weight"], 0)[:2]
        fits = len(shapes["weight"]) == 2 and shapes["bias"] == (units,)
        if fits and (top_k is None or 1 <= top_k <= units):
            return Encoder(tensors["weight"].float(), tensors["bias"].float(), top_k), inputs
    if whole and shapes.keys() == {"dictionary"} and len(shapes["dictionary"]) == 2:
        return NotNegative(tensors["dictionary"].float()), shapes["dictionary"][1]
    raise RosettaError(
        f"{source}: expected weight (U, C) and bias (U,) of an encoder and top_k up to U, or "
        f"dictionary (U, C), found {shapes}.\nExport the dictionary under these names."
    )
