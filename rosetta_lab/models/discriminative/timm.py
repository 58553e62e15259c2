"""Any timm architecture as a discriminative model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.models.checkpoints import Weights, load_weights, no_larger_than, skeleton
from rosetta_lab.models.checkpoints.hub import load_from_hub
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.discriminative.timm_names import timm_names
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.run.configs import plain

FILES = ("model.safetensors", "pytorch_model.bin")  # of timm's repositories, best first


class TimmModel(DiscriminativeModel):
    """A network of ``timm.create_model``.

    Args:
        architecture: timm's name, with or without a tag (``resnet50.tv_in1k``).
        weights: ``pretrained`` for timm's published ones, ``random``, or a source that
            :func:`rosetta_lab.models.checkpoints.load_weights` understands. They are adapted, by
            timm and :func:`timm_names`: names of the authors' own files, position embeddings and
            patches of another size.
        layers: see :class:`DiscriminativeModel`.
        preprocess: fields of :class:`Preprocess`; None takes them from the published config.
        model_kwargs: passed on to ``timm.create_model``; an ``img_size`` is the preprocessing's
            size, too.
        sha256: what the file behind a source must have, where it is known.
        antialias_positions: low-pass filter where position embeddings shrink, as timm does; false
            for DINOv2 as its authors run it at other sizes than 518 px.

    Raises:
        RosettaError: timm does not know the architecture, or has no weights for it, or the weights
            do not fit.
    """

    def __init__(
        self,
        architecture: str,
        weights: str,
        layers: Iterable[str],
        preprocess: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        sha256: str | None = None,
        antialias_positions: bool = True,
    ) -> None:
        if not timm.is_model(architecture):
            name = architecture.split(".")[0]
            near = timm.list_models(f"*{name[:6]}*")[:8] or ["timm.list_models() lists all"]
            raise RosettaError(
                f"timm has no architecture {architecture}; similar ones: {', '.join(near)}."
            )
        options = plain(model_kwargs) or {}
        if weights == "random":
            with possible(architecture):
                network: Any = timm.create_model(architecture, **options)
            source, digest = "random", ""
        else:
            published = weights == "pretrained"
            loaded = (
                published_weights(architecture)
                if published
                else load_weights(weights, sha256=sha256)
            )
            state = timm_names(loaded.state_dict)
            if not antialias_positions:
                state = with_positions(architecture, state, options)
            network = with_weights(architecture, replace(loaded, state_dict=state), options)
            source = f"timm://{architecture}" if published else loaded.source
            digest = loaded.sha256
        super().__init__(
            network,
            Preprocess.from_timm(network.pretrained_cfg, options.get("img_size"))
            if preprocess is None
            else Preprocess(**plain(preprocess)),
            layers,
            source,
            digest,
        )
        self.architecture, self.options = architecture, options
        self.num_classes = int(network.num_classes)

    def at(self, size: tuple[int, int], device: str | None = None) -> DiscriminativeModel:
        """See :class:`DiscriminativeModel`: some architectures are built for one size."""
        other = super().at(size, device)
        network: Any = other.network
        if (
            device == "meta"
            and size != self.preprocess.size
            and not hasattr(network, "set_input_size")
        ):
            with suppress(Exception), torch.device(device):  # many take no img_size, or not any
                network = timm.create_model(self.architecture, **self.options | {"img_size": size})
                other.network = network.eval()
        return other


@contextmanager
def possible(architecture: str) -> Iterator[None]:
    """Say in two lines that timm makes no network of some arguments.

    Raises:
        RosettaError: see above.
    """
    try:
        yield
    except RosettaError:
        raise
    except Exception as error:  # of any kind: timm checks few arguments
        raise RosettaError(
            f"timm makes no {architecture} of these arguments: "
            f"{printable(' '.join(str(error).split()))}\nChange model_kwargs."
        ) from error


def published_weights(architecture: str) -> Weights:
    """What timm's entry for an architecture names, through this project's own reader.

    Raises:
        RosettaError: it names nothing, or the file cannot be had.
    """
    entry: Any = timm.get_pretrained_cfg(architecture)
    if not getattr(entry, "hf_hub_id", None):
        raise RosettaError(
            f"timm has no weights for {architecture}.\n"
            "Name a variant that has some (timm.list_pretrained()), or pass weights=PATH."
        )
    names = [entry.hf_hub_filename] if entry.hf_hub_filename else FILES
    return load_from_hub(entry.hf_hub_id, names, entry.url)


def with_weights(architecture: str, loaded: Weights, options: dict[str, Any]) -> Any:
    """A network with these weights, which timm adapts to it; all of its tensors are among them.

    Raises:
        RosettaError: they are of another network.
    """
    entry: Any = timm.get_pretrained_cfg(architecture)
    classes = options.get("num_classes", entry.num_classes)
    skeleton(partial(timm.create_model, architecture, **options), loaded)
    state = loaded.state_dict if classes else without_head(loaded.state_dict, entry.classifier)
    overlay = {
        "state_dict": state,
        "custom_load": False,
        # Where the classes are not the published ones, timm drops the head, but it also lets any
        # other tensor be missing then. So the entry tells it what the file has by now.
        "num_classes": classes,
        "label_offset": entry.label_offset if classes == entry.num_classes else 0,
    }
    try:
        with no_larger_than(loaded):
            network: Any = timm.create_model(
                architecture, True, pretrained_cfg_overlay=overlay, **options
            )
    except (AssertionError, IndexError, KeyError, RuntimeError, ValueError) as error:
        raise misfit(loaded.source, architecture, error) from error
    network.pretrained_cfg.pop("state_dict")  # a second copy
    check_numbers(loaded, network)
    return network


def check_numbers(loaded: Weights, network: nn.Module) -> None:
    """See that no weights are whole numbers, which timm would take for any.

    Raises:
        RosettaError: some are.
    """
    own = {name for name, value in network.state_dict().items() if value.is_floating_point()}
    for name, value in loaded.state_dict.items():
        # Under timm's names, or as the authors call what timm renames.
        if (name in own or name.endswith((".weight", ".bias"))) and not value.is_floating_point():
            raise RosettaError(
                f"{loaded.source}: {name} is of {value.dtype}, no weights.\n"
                "Choose other weights: the file is damaged, or is of a quantised network."
            )


def with_positions(
    architecture: str, state: dict[str, Tensor], options: dict[str, Any]
) -> dict[str, Tensor]:
    """``state`` with its position embeddings brought to a network's size by bicubic interpolation.

    Without a low-pass filter, where timm has one.
    """
    with torch.device("meta"):
        network: Any = timm.create_model(architecture, **options)
    positions = resample_abs_pos_embed(
        state["pos_embed"],
        network.patch_embed.grid_size,
        num_prefix_tokens=network.num_prefix_tokens,
        antialias=False,
    )
    return state | {"pos_embed": positions}


def misfit(source: str, architecture: str, error: Exception) -> RosettaError:
    """What a library did not like about weights, in short."""
    return RosettaError(
        f"{source} does not fit {architecture}: {' '.join(str(error).split())[:300]}\n"
        "Choose the weights of this architecture, or change the architecture's arguments."
    )


def without_head(
    state: Mapping[str, Tensor], classifier: str | Sequence[str] | None
) -> dict[str, Tensor]:
    """A state dict without its classifier, or classifiers."""
    names = [classifier] if isinstance(classifier, str) else classifier or ()
    # The authors' files may call it "head", where timm has "head.fc".
    called = {alias for name in names for alias in (name, name.split(".")[0])}
    heads = {f"{name}.{kind}" for name in called for kind in ("weight", "bias")}
    return {name: value for name, value in state.items() if name not in heads}
