"""What every model that looks at images has in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from operator import attrgetter
from typing import Any, get_args

import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError, check_choice
from rosetta_lab.models import recording
from rosetta_lab.models.layouts import SCATTERED, Kind, Layout, Probe, Untold, tell, told, twin
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.recording import Kept, OnMap, look
from rosetta_lab.models.units import matches


class DiscriminativeModel(nn.Module):
    """A fixed network that looks at images, and the layers whose channels are its units.

    Args:
        network: the network itself; layer names are its module names.
        preprocess: how the network wants its images.
        layers: globs over module names; ``NAME:input`` records a module's input instead of its
            output.
        source: where the weights came from, ``random`` if from nowhere.
        sha256: of the weights' file, empty where unknown.
        declared: globs over layers to what these put out, where comparing images of several sizes
            does not tell, as in a network that takes one size only: ``NCHW``, ``NHWC``, or ``NTC``
            for tokens, row by row, perhaps after class and register tokens.

    Attributes:
        num_classes: of which the output is the logits; 0 where it is something else, such as an
            embedding, which may be as wide.
    """

    num_classes: int = 0

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        layers: Iterable[str],
        source: str = "random",
        sha256: str = "",
        declared: Mapping[str, Kind] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.preprocess = preprocess
        self.layers = tuple(layers)
        self.source, self.sha256 = source, sha256
        self.declared = dict(declared or {})
        for glob, kind in self.declared.items():
            check_choice(f"declared.{glob}", kind, get_args(Kind))
        self._layouts: dict[str, Layout] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to the network's output."""
        output: Tensor = self.network(self.preprocess(images))
        return output

    def maps(
        self, images: Tensor, layers: Sequence[str], on_map: OnMap[Kept] | None = None
    ) -> dict[str, Kept]:
        """Activation maps of layers; the network is left after the last of them.

        Args:
            images: (N, 3, H, W) in [0, 1].
            layers: exact names of modules, see :func:`rosetta_lab.models.units.resolve_layers`.
            on_map: takes every layer's maps as soon as they are there, see :func:`look`; what it
                returns is kept in their place.

        Returns:
            layer to maps (N, C, H, W), or to what ``on_map`` returned.

        Raises:
            RosettaError: a layer does not run, or more than once, or does not put out maps; or the
                network runs on no images of this size.
        """
        return self._look(images, layers, on_map, whole=False)[1]

    def output_and_maps(
        self, images: Tensor, layers: Sequence[str], on_map: OnMap[Kept] | None = None
    ) -> tuple[Tensor, dict[str, Kept]]:
        """The network's output, and :meth:`maps`, from one pass."""
        return self._look(images, layers, on_map)

    def _look(
        self,
        images: Tensor,
        layers: Sequence[str],
        on_map: OnMap[Kept] | None,
        *,
        whole: bool = True,
    ) -> tuple[Any, dict[str, Kept]]:
        try:
            return look(
                self.network, layers, lambda: self(images), self.to_map, on_map, whole=whole
            )
        except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError):
            self._probe.check()  # perhaps it is not what these images do to it
            raise

    @property
    def backbone(self) -> nn.Module:
        """The part of the network that knows its patches."""
        return self.network

    @property
    def num_prefix_tokens(self) -> int:
        """Class and register tokens that stand before the patch tokens of a transformer."""
        known = getattr(self.backbone, "num_prefix_tokens", None)
        if known is not None:
            return int(known)
        if hasattr(self.backbone, "class_embedding"):  # open_clip's own transformers
            return 1
        tokens = self.backbone.named_parameters(recurse=False)
        counts = [value.shape[-2] for name, value in tokens if re.match(r"cl(as)?s_token", name)]
        return max(counts, default=0)

    def at(self, size: tuple[int, int], device: str | None = None) -> DiscriminativeModel:
        """This model for images of another size, as far as its network can take them.

        It serves to see what grows with the images, and need not compute anything. A family that
        builds networks of a fixed size builds another one here.

        Args:
            size: height and width in pixels.
            device: see :func:`rosetta_lab.models.layouts.twin`.
        """
        other = twin(self, device, recording.__name__)
        if size != self.preprocess.size:
            other.preprocess = replace(self.preprocess, size=size)
            resize: Any = getattr(other.backbone, "set_input_size", None)  # timm's
            if resize is not None:
                with suppress(Exception):  # of any kind: then it stays as it is
                    resize(img_size=size)
        return other

    def to_map(self, layer: str, activation: Tensor) -> Tensor:
        """What a layer puts out as maps. A class of one's own that knows better overrides this.

        Args:
            layer: its name.
            activation: what it puts out (N, ...).

        Returns:
            (N, C, H, W); tokens are folded to the grid of patches, row by row.

        Raises:
            RosettaError: which of its axes mean what cannot be told.
        """
        shape = tuple(activation.shape)
        try:
            layout = self._layout(layer, shape)
            if layout.shape != shape[1:]:
                raise Untold(f"it was expected to be (N, {', '.join(map(str, layout.shape))})")
        except Untold as reason:
            raise RosettaError(
                f"Layer {layer} puts out {shape}, no maps that are known: {reason}.\n"
                "Choose other layers."
            ) from None
        return layout.to_map(activation)

    def _layout(self, layer: str, shape: tuple[int, ...]) -> Layout:
        """The layout of a layer that has put out something of this shape."""
        if layer not in self._layouts:
            size, prefix = self._size_in_patches, self.num_prefix_tokens
            kinds = [kind for glob, kind in self.declared.items() if matches(glob, layer)]
            if kinds:
                self._layouts[layer] = told(kinds[0], shape, size, prefix)
            else:
                found = tell(self._probe.of(layer), size, prefix)
                if len(found.places) == 1 and type(self.backbone).__name__ in SCATTERED:
                    raise Untold("its tokens do not lie row by row")
                self._layouts[layer] = found
        return self._layouts[layer]

    @cached_property
    def _probe(self) -> Probe:
        weights = (value for value in self.parameters() if value.is_floating_point())
        like = next(weights, torch.empty(0))
        return Probe(self.at, attrgetter("network"), self.preprocess.size, like)

    @property
    def _size_in_patches(self) -> tuple[float, float]:
        """Height and width of the images, counted in patches where these are not square."""
        embed: Any = getattr(self.backbone, "patch_embed", self.backbone)
        patch = getattr(embed, "patch_size", 1)
        height, width = patch if isinstance(patch, Sequence) else (patch, patch)
        return self.preprocess.size[0] / height, self.preprocess.size[1] / width
