"""Any open_clip architecture as a discriminative model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import (
    Weights,
    load_into,
    load_weights,
    no_larger_than,
    skeleton,
)
from rosetta_lab.models.checkpoints.hub import load_from_hub
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.discriminative.timm import misfit
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.run.configs import plain

# Of open_clip's repositories, best first.
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class OpenClipModel(DiscriminativeModel):
    """The image tower of an ``open_clip`` model; layer names begin with ``visual.``.

    The text tower is kept, for zero-shot classification, but never runs in a forward pass.

    Args:
        architecture: open_clip's name (``RN50``, ``ViT-B-32``).
        weights: one of open_clip's tags for the architecture (``openai``), ``random``, or a source
            that :func:`rosetta_lab.models.checkpoints.load_weights` understands. A tag says which
            GELU its weights were trained with; for others the architecture does, and for a file of
            OpenAI's weights that is the variant ``-quickgelu``.
        layers: see :class:`DiscriminativeModel`.
        preprocess: fields of :class:`Preprocess`; None takes them from the published config.
        model_kwargs: entries of open_clip's model config to replace (``embed_dim``, ``vision_cfg``,
            ``text_cfg``).
        sha256: what the file behind a source must have, where it is known.

    Raises:
        RosettaError: open_clip does not know the architecture.
    """

    def __init__(
        self,
        architecture: str,
        weights: str,
        layers: Iterable[str],
        preprocess: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        sha256: str | None = None,
    ) -> None:
        if architecture not in open_clip.list_models():
            near = [m for m in open_clip.list_models() if m[:3].lower() == architecture[:3].lower()]
            raise RosettaError(
                f"open_clip has no architecture {architecture}; "
                f"it has {', '.join(near or open_clip.list_models())}."
            )
        tag = open_clip.get_pretrained_cfg(architecture, weights)
        source, digest, path = "random", "", None
        if tag:
            published = load_tag(tag)
            path, digest = str(published.file), published.sha256
            source = f"open_clip://{architecture}/{weights}"
        # open_clip is only told of a file, and would take the architecture's GELU for the tag's.
        trained = {"quick_gelu": tag.get("quick_gelu", False)} if tag else {}
        options = trained | (plain(model_kwargs) or {})
        loaded = None
        if not tag and weights != "random":
            loaded = load_weights(weights, sha256=sha256)
            with unwarned():
                make = partial(open_clip.create_model, architecture, device="meta", **options)
                skeleton(make, loaded)
        try:
            with unwarned(), nullcontext() if loaded is None else no_larger_than(loaded):
                network = open_clip.create_model(
                    architecture,
                    path,
                    device=torch.get_default_device(),  # it would move the network off any other
                    force_preprocess_cfg=tag,
                    **options,
                )
        except RuntimeError as error:
            if path is None:
                raise
            raise misfit(source, architecture, error) from error
        if loaded is not None:
            load_into(network, loaded)
            source, digest = loaded.source, loaded.sha256
        super().__init__(
            network,
            Preprocess.from_open_clip(network.visual.preprocess_cfg)
            if preprocess is None
            else Preprocess(**plain(preprocess)),
            layers,
            source,
            digest,
        )
        self.architecture, self.options = architecture, options

    def at(self, size: tuple[int, int], device: str | None = None) -> DiscriminativeModel:
        """See :class:`DiscriminativeModel`: transformers are built for one size."""
        other = super().at(size, device)
        if device == "meta" and size != self.preprocess.size:
            options = dict(self.options)
            if "vision_cfg" in options:
                options["vision_cfg"] = options["vision_cfg"] | {"image_size": size}
            with suppress(Exception), unwarned():  # of any kind: then it stays as it is
                other.network = open_clip.create_model(
                    self.architecture, device=device, force_image_size=size, **options
                ).eval()
        return other

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to embeddings (N, D)."""
        network: Any = self.network
        output: Tensor = network.encode_image(self.preprocess(images))
        return output

    @property
    def backbone(self) -> nn.Module:
        visual: Any = self.network.visual
        trunk: nn.Module = getattr(visual, "trunk", visual)  # towers that come from timm
        return trunk


@contextmanager
def unwarned() -> Iterator[None]:
    """Silence open_clip's warning that a network has no weights: it gets them, or is to be random.

    Random weights are told of by the run itself.
    """

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No pretrained weights loaded")

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)


def load_tag(tag: Mapping[str, Any]) -> Weights:
    """The weights that open_clip's entry for a tag names."""
    repository, _, name = tag.get("hf_hub", "").rpartition("/")
    if not repository:
        return load_weights(tag["url"])
    return load_from_hub(repository, [name] if name else FILES, tag.get("url"))
