"""Any timm architecture as a discriminative model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import timm
from omegaconf import DictConfig, ListConfig, OmegaConf

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_into, load_weights
from rosetta_lab.models.checkpoints.hub import fetch_from_hub
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.preprocess import Preprocess


def plain(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options as plain dicts and lists, also where they come from a Hydra config."""
    if isinstance(options, DictConfig | ListConfig):
        return dict(OmegaConf.to_container(options, resolve=True))  # type: ignore[arg-type]
    return dict(options or {})


class TimmModel(DiscriminativeModel):
    """A network of ``timm.create_model``.

    Args:
        architecture: timm's name, with or without a tag (``resnet50.tv_in1k``).
        weights: ``pretrained`` for timm's published ones, ``random``, or a source that
            :func:`rosetta_lab.models.checkpoints.load_weights` understands.
        layers: see :class:`DiscriminativeModel`.
        preprocess: fields of :class:`Preprocess`; None takes them from the published config.
        model_kwargs: passed on to ``timm.create_model``.

    Raises:
        RosettaError: timm does not know the architecture, or has no weights for it.
    """

    def __init__(
        self,
        architecture: str,
        weights: str,
        layers: Iterable[str],
        preprocess: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not timm.is_model(architecture):
            name = architecture.split(".")[0]
            near = timm.list_models(f"*{name[:6]}*")[:8] or ["timm.list_models() lists all"]
            raise RosettaError(
                f"timm has no architecture {architecture}; similar ones: {', '.join(near)}."
            )
        published = weights == "pretrained"
        source, sha256, file = "random", "", {}
        if published:
            repository = getattr(timm.get_pretrained_cfg(architecture), "hf_hub_id", None)
            if repository is None:
                raise RosettaError(
                    f"timm has no weights for {architecture}.\n"
                    "Name a variant that has some (timm.list_pretrained()), or pass weights=PATH."
                )
            path, sha256 = fetch_from_hub(repository, ["model.safetensors", "pytorch_model.bin"])
            source, file = f"timm://{architecture}", {"file": str(path)}
        network: Any = timm.create_model(
            architecture, published, pretrained_cfg_overlay=file, **plain(model_kwargs)
        )
        if weights not in ("pretrained", "random"):
            loaded = load_weights(weights)
            load_into(network, loaded)
            source, sha256 = loaded.source, loaded.sha256
        super().__init__(
            network,
            Preprocess.from_timm(network.pretrained_cfg)
            if preprocess is None
            else Preprocess(**plain(preprocess)),
            layers,
            source,
            sha256,
        )
