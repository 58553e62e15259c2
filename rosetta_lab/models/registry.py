"""Kinds of models by name: what the configs of others may ask for.

A ``_target_`` in a file of others is looked up in a table of strings. What it names is neither
imported nor resolved; options are checked against the class's own signature, and the very values
that were checked make the object.
"""

from __future__ import annotations

import importlib
import inspect
import os
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Field, create_model
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.told import declared_types, is_modest
from rosetta_lab.run.configs import moved, unresolved
from rosetta_lab.run.foreign import (
    LOCAL,
    TARGET,
    Strict,
    check_closed,
    check_record,
    is_download,
    own_sources,
    printable,
)

PLUGINS = "ROSETTA_PLUGINS"
Text = Annotated[str, Field(max_length=1024)]
Size = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=0, le=1 << 20)]
Depth = Annotated[int, Field(ge=1, le=200)]
Architecture = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)]


class PreprocessOptions(Strict):
    """Of :class:`rosetta_lab.models.preprocess.Preprocess`."""

    size: Size | tuple[Size, Size]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    antialias: bool = True


class TimmOptions(Strict):
    """Those of timm's keywords that shape a network; none that reads a file or loads anything."""

    img_size: Size | tuple[Size, Size] | None = None
    patch_size: Size | tuple[Size, Size] | None = None
    dynamic_img_size: bool = False
    dynamic_img_pad: bool = False
    num_classes: Count = 0
    embed_dim: Count = 0
    depth: Depth = 1
    depths: Sequence[Depth] = ()
    dims: Sequence[Count] = ()
    num_heads: Depth = 1
    mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0
    reg_tokens: Annotated[int, Field(ge=0, le=64)] = 0
    class_token: bool = True
    no_embed_class: bool = False
    pre_norm: bool = False
    qkv_bias: bool = True
    conv_mlp: bool = False
    global_pool: Literal["", "avg", "max", "avgmax", "catavgmax", "token", "map", "fast"] = ""
    channels: Sequence[Count] = ()
    stem_type: Literal["", "deep", "deep_tiered"] = ""
    stem_width: Count = 64
    output_stride: Literal[8, 16, 32] = 32


class ClipVision(Strict):
    """Of open_clip's ``vision_cfg``: sizes, nothing that names a model or weights."""

    image_size: Size | tuple[Size, Size] = 224
    layers: Depth | Sequence[Depth] = 12
    width: Count = 768
    head_width: Count = 64
    patch_size: Size = 16
    mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0


class ClipText(Strict):
    """Of open_clip's ``text_cfg``: sizes, nothing that names a model or a tokenizer."""

    context_length: Count = 77
    vocab_size: Count = 49408
    width: Count = 512
    heads: Count = 8
    layers: Depth = 12


class OpenClipOptions(Strict):
    """Of open_clip's model config."""

    embed_dim: Count = 512
    quick_gelu: bool = False
    vision_cfg: ClipVision | None = None
    text_cfg: ClipText | None = None


class Kinds:
    """Classes that a config of others may name.

    Args:
        base: what all of them are, as messages call it.
        table: name of a kind to where its class is.
    """

    def __init__(self, base: str, table: Mapping[str, str]) -> None:
        self.base, self.table = base, dict(table)

    def find(self, target: object) -> type:
        """The class that a ``_target_`` names.

        Raises:
            RosettaError: it is not in the table, nor among those in ``ROSETTA_PLUGINS``.
        """
        path = self._path(target)
        if path is None:
            raise RosettaError(
                f"The configuration asks for '{printable(target)}', which is not a "
                f"{self.base.rpartition('.')[2]} that this package knows; refused.\n"
                f"Know it and trust it? Name it in the variable {PLUGINS}."
            )
        return _imported(path, None if path in self.table.values() else self.base)

    def _path(self, target: object) -> str | None:
        if not isinstance(target, str):
            return None
        path = self.table.get(target, moved(target))
        # Compared as text: the table and the user's own variable say what is imported.
        return path if path in (*self.table.values(), *_plugins()) else None

    def is_kind(self, target: object, name: str) -> bool:
        """Whether a ``_target_`` names the kind ``name``; nothing is imported."""
        return self._path(target) == self.table[name]

    def make(self, entry: Mapping[str, Any], **more: Any) -> Any:
        """The object that an entry of others describes.

        Args:
            entry: a ``_target_`` and its options.
            more: options that the caller has checked.

        Raises:
            RosettaError: another class than those in the table, or options that are not its own.
        """
        entry = unresolved(entry)
        check_closed(entry, "The configuration")
        kind = self.find(entry.get(TARGET))
        options = checked_options(kind, {k: v for k, v in entry.items() if k != TARGET})
        return kind(**(options | more))


GENERATORS = Kinds(
    "rosetta_lab.models.base.Generator",
    {
        "stylegan2": "rosetta_lab.models.generators.stylegan2.StyleGAN2",
        "stylegan3": "rosetta_lab.models.generators.stylegan3.StyleGAN3",
        "stylegan_xl": "rosetta_lab.models.generators.stylegan_xl.StyleGANXL",
        "biggan_deep": "rosetta_lab.models.generators.biggan_deep.BigGANDeep",
        "dcgan": "rosetta_lab.models.generators.dcgan.DCGAN",
    },
)
DISCRIMINATIVE = Kinds(
    "rosetta_lab.models.discriminative.base.DiscriminativeModel",
    {
        "timm": "rosetta_lab.models.discriminative.timm.TimmModel",
        "open_clip": "rosetta_lab.models.discriminative.open_clip.OpenClipModel",
        "small_vgg": "rosetta_lab.models.discriminative.vgg.SmallVGGModel",
    },
)
PERCEPTUAL = Kinds(
    "rosetta_lab.models.perceptual.Perceptual",
    {
        "lpips": "rosetta_lab.models.perceptual.LPIPS",
        "layer_perceptual": "rosetta_lab.models.perceptual.LayerPerceptual",
    },
)
# Options of classes in the tables whose own types say less than is known.
NARROWED: dict[str, dict[str, Any]] = {
    "TimmModel": {"architecture": Architecture, "model_kwargs": TimmOptions | None},
    "OpenClipModel": {"architecture": Architecture, "model_kwargs": OpenClipOptions | None},
}


def checked_options(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """A constructor's options, after checking names, types and ranges; those not given stay away.

    Raises:
        RosettaError: one of them is not what the constructor declares.
    """
    checked = check_record(_options(kind), dict(options), kind.__name__)
    values: dict[str, Any] = checked.model_dump(exclude_unset=True)
    for name, value in values.items():
        if not is_modest(value, name):
            raise RosettaError(
                f"{kind.__name__}: {name}={printable(value)}: no network has such sizes; refused.\n"
                "The file is damaged, or was tampered with."
            )
    if kind.__name__ == "OpenClipModel":
        _check_clip(values["architecture"])
    hints = declared_types(kind)
    for name, value in values.items():
        if _is_model(hints.get(name)):
            values[name] = DISCRIMINATIVE.make(value)
    return values


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Say in two lines what a constructor, or a library's, could not do with options of others.

    Their types and ranges have been checked; which of them go together only the network tells.

    Raises:
        RosettaError: see above.
    """
    try:
        yield
    except RosettaError:
        raise
    except (
        *(ArithmeticError, AssertionError, LookupError, MemoryError),
        *(RuntimeError, TypeError, ValueError),
    ) as error:
        raise RosettaError(
            f"{what}: there is none of these options: "
            f"{printable(' '.join(str(error).split()))}\nUse a configuration that a run wrote."
        ) from error


def check_sources(entries: Iterable[Mapping[str, Any]], trust: bool) -> None:
    """See that models of others load nothing from where the user's own configs do not.

    Args:
        entries: of models, or of what contains some.
        trust: whether the user said so.

    Raises:
        RosettaError: they do.
    """
    if trust:
        return
    for entry in entries:
        if isinstance(entry.get("model"), Mapping):
            check_sources([entry["model"]], trust)
        weights, architecture = entry.get("weights"), entry.get("architecture")
        if not isinstance(weights, str) or not _is_fetched(entry, weights):
            continue
        own = own_sources()
        if (architecture, weights) in own or (
            is_download(weights) and weights in {url for _, url in own}
        ):
            continue
        named = weights if is_download(weights) else f"{architecture}, {weights}"
        raise RosettaError(
            f"weights of '{printable(named)}' would be downloaded, and no config of yours names "
            "them; refused.\nDo you trust whoever wrote the file? Pass trust_sources=true."
        )


def _is_fetched(entry: Mapping[str, Any], weights: str) -> bool:
    if is_download(weights):
        return True
    if weights == "random" or weights.startswith(LOCAL):
        return False
    target = entry.get(TARGET)
    if DISCRIMINATIVE.is_kind(target, "timm"):
        return weights == "pretrained"
    # open_clip's tags look like file names.
    return DISCRIMINATIVE.is_kind(target, "open_clip") and not Path(weights).expanduser().is_file()


def _plugins() -> list[str]:
    return [name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip()]


@cache
def _imported(path: str, base: str | None) -> type:
    module, _, name = path.rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RosettaError(
            f"{PLUGINS}: '{path}' cannot be imported ({error}).\n"
            "Install the package that it comes from."
        ) from None
    if base is not None and not (
        isinstance(found, type) and issubclass(found, _imported(base, None))
    ):
        raise RosettaError(
            f"The configuration asks for '{path}', which is not a {base.rpartition('.')[2]}; "
            f"refused.\nTake it out of {PLUGINS}, or use another file."
        )
    return found  # type: ignore[no-any-return]


@cache
def _options(kind: type) -> type[Strict]:
    """A record of a constructor's options."""
    hints = declared_types(kind)
    known = {"preprocess": PreprocessOptions, **NARROWED.get(kind.__name__, {})}
    parameters = inspect.signature(kind).parameters
    fields: dict[str, Any] = {}
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    open_ended = {name for name, parameter in parameters.items() if parameter.kind in variable}
    for name in dict.fromkeys((*parameters, *hints)):
        if name in open_ended:
            continue
        required = name in parameters and parameters[name].default is inspect.Parameter.empty
        declared = known.get(name) or plain_type(hints.get(name, Any))
        if name == "preprocess" and not required:
            declared = declared | None
        fields[name] = (declared, ... if required else None)
    made: type[Strict] = create_model(f"{kind.__name__}Options", __base__=Strict, **fields)
    return made


def plain_type(declared: Any) -> Any:
    """An annotation, restricted to what JSON has: lists for iterables, no tensors, no paths."""
    origin, args = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        kept = [plain_type(arg) for arg in args if arg not in (Path, Tensor)]
        return Union[tuple(kept)]  # noqa: UP007  of a tuple
    if origin is not None and inspect.isclass(origin) and origin is not tuple:
        if issubclass(origin, Mapping):
            return dict.__class_getitem__(args)
        if issubclass(origin, Iterable):
            return list[plain_type(args[0])]  # type: ignore[misc]
    if declared is str:
        return Text
    return dict[str, Any] if _is_model(declared) else declared


def _is_model(declared: Any) -> bool:
    names = (base.__name__ for base in getattr(declared, "__mro__", ()))
    return isinstance(declared, type) and "DiscriminativeModel" in names


def _check_clip(architecture: str) -> None:
    """Some of open_clip's text towers are fetched by another library, which unpickles."""
    import open_clip

    text = (open_clip.get_model_config(architecture) or {}).get("text_cfg", {})
    if "hf_model_name" in text:
        raise RosettaError(
            f"open_clip's {architecture} fetches a text tower of its own; refused.\n"
            "Use a dictionary that was mined with another model."
        )
