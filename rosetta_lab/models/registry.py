"""Kinds of models by name: what the configs of others may ask for.

A ``_target_`` in a file of others is looked up in a table of strings. What it names is neither
imported nor resolved; options are checked against the class's own signature, and the very values
that were checked make the object.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Any

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.models.checkpoints import made
from rosetta_lab.models.options import checked_options, models_in
from rosetta_lab.run.configs import moved, unresolved
from rosetta_lab.run.foreign import LOCAL, TARGET, check_closed, is_download, own_sources

PLUGINS = "ROSETTA_PLUGINS"


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
        for name in models_in(kind):
            options[name] = DISCRIMINATIVE.make(options[name])
        make = partial(kind, **(options | more))
        # What has weights is held to their size where it gets them.
        return made(make) if options.get("weights") == "random" else make()


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
        "codes": "rosetta_lab.models.discriminative.codes.CodedModel",
    },
)
PERCEPTUAL = Kinds(
    "rosetta_lab.models.perceptual.Perceptual",
    {
        "lpips": "rosetta_lab.models.perceptual.LPIPS",
        "layer_perceptual": "rosetta_lab.models.perceptual.LayerPerceptual",
    },
)


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
    return DISCRIMINATIVE.is_kind(target, "open_clip") and not os.path.isfile(
        os.path.expanduser(weights)
    )


def _plugins() -> list[str]:
    return [name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip()]


@cache
def _imported(path: str, base: str | None) -> type:
    module, _, name = path.rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
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
