"""Options of models in the configs of others: names, types and ranges, from the constructors.

What a constructor passes on to a library is listed here: only what shapes a network.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Field, create_model
from torch import Tensor

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.models.checkpoints.told import declared_types, is_modest
from rosetta_lab.run.foreign import Strict, check_record

Text = Annotated[str, Field(max_length=1024)]
Size = Annotated[int, Field(ge=1, le=4096)]
Pixels = Annotated[int, Field(ge=1, le=1536)]  # of an image's side, which costs its square
Count = Annotated[int, Field(ge=0, le=1 << 20)]
Depth = Annotated[int, Field(ge=1, le=200)]
Architecture = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)]


class PreprocessOptions(Strict):
    """Of :class:`rosetta_lab.models.preprocess.Preprocess`."""

    size: Pixels | tuple[Pixels, Pixels]
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


# Options of which the constructors' own types say less than is known.
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
    return values


def models_in(kind: type) -> list[str]:
    """Those of a constructor's options that are discriminative models themselves."""
    return [name for name, declared in declared_types(kind).items() if _is_model(declared)]


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
