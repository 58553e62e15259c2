"""What others wrote, in JSON or YAML, read as data: nothing is imported, resolved or downloaded.

Dictionaries, recipes and the records in run folders come from anywhere. They are read here into
plain Python values, and checked before anybody uses them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml  # type: ignore[import-untyped]
from hydra.core.hydra_config import HydraConfig
from pydantic import BaseModel, ConfigDict, ValidationError

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import asset_root
from rosetta_lab.run.addresses import public

Record = TypeVar("Record", bound=BaseModel)

LARGEST_FILE = 1 << 28  # bytes
LARGEST_YAML = 1 << 17  # configurations are small, and its reader slow
LONGEST_NUMBER = 400  # characters
MOST_VALUES = 10_000_000
DEEPEST = 30
LONGEST = 4096  # characters of a text that something is made of
TARGET = "_target_"
LOCAL = ("package://", "installed://", "file://")


class Strict(BaseModel):
    """A record whose values have the types that are declared, and no others."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        protected_namespaces=(),
        arbitrary_types_allowed=True,
    )


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML as OmegaConf reads it: 1e-3 is a number, a date is text; nothing refers to another."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as its base class has it
        first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few of them make billions of values
            raise yaml.YAMLError("it refers to parts of itself, which no record of a run does")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if node.tag.endswith((":int", ":float")) and len(value) > LONGEST_NUMBER:
            raise yaml.YAMLError("it holds a number that is too long")
        return value


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+\Z"),
    list("-+0123456789"),
)


def check_links(folder: Path) -> None:
    """See that what is written into a folder of others stays there.

    Raises:
        RosettaError: a link in it leads out of it, or to nothing; or it holds a pipe or the like.
    """
    root = folder.resolve()
    for place, folders, files in os.walk(root):
        if Path(place).parent == root / "wandb":  # W&B's own; it links to its logs
            folders.clear()
            continue
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and root not in path.resolve().parents:
                raise RosettaError(
                    f"{printable(path)}: this link leads out of its run's folder; refused.\n"
                    "Put a copy of what you mean in its place."
                )
            if not path.is_dir() and not path.is_file():  # a pipe lets whoever opens it wait
                raise RosettaError(
                    f"{printable(path)}: this is neither a file nor a folder; refused.\n"
                    "Take it out of the run's folder."
                )


def read_text(path: Path, largest: int = LARGEST_FILE) -> str:
    """A file's text.

    Raises:
        RosettaError: it is no text, or too large.
        FileNotFoundError: there is none.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError(path) if not path.exists() else OSError("not a file")
        if path.stat().st_size > largest:
            raise OSError(f"more than {largest >> 10} KiB")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise RosettaError(
            f"{path}: cannot be read ({printable(error)}).\nName the file that a run wrote."
        ) from None


def read_json(path: Path) -> Any:
    """Plain values from a JSON file.

    Raises:
        RosettaError: it is something else.
        FileNotFoundError: there is none.
    """
    text = read_text(path)
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RosettaError(
            f"{path} is not JSON ({printable(error)}).\nName the file that a run wrote."
        ) from None
    check_values(found, str(path))
    return found


def read_yaml(path: Path) -> Any:
    """Plain values from a YAML file.

    Raises:
        RosettaError: it is something else, or there is none.
    """
    try:
        return parse_yaml(read_text(path, LARGEST_YAML), str(path))
    except FileNotFoundError:
        raise RosettaError(f"{path}: cannot be read (there is no such file).") from None


def parse_yaml(text: str, name: str) -> Any:
    """Plain values from YAML; ``name`` is for messages.

    Raises:
        RosettaError: it is something else.
    """
    try:
        found = yaml.load(text, _Loader)  # a SafeLoader: plain values only
    except Exception as error:  # any kind, since the file may hold anything
        reason = printable(next(iter(str(error).splitlines()), type(error).__name__))
        raise RosettaError(
            f"{name}: cannot be read ({reason}).\nName the file that a run wrote."
        ) from None
    check_values(found, name)
    return found


def check_values(value: Any, name: str, most: int = MOST_VALUES) -> None:
    """See that a record consists of plain values, and is neither huge nor deep.

    Args:
        value: the record.
        name: for messages.
        most: of the values in it.

    Raises:
        RosettaError: it is something else.
    """
    left, level = most, [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif not isinstance(item, bool | int | float | str | None):
                raise RosettaError(
                    f"{name}: holds a value of type {type(item).__name__}.\n"
                    "Expected texts, numbers, lists and mappings only."
                )
            elif isinstance(item, str) and not item.isascii():
                _require_text(item, name)
            elif isinstance(item, int) and item.bit_length() > 64:
                raise RosettaError(
                    f"{name}: holds a number of {item.bit_length()} bits.\n"
                    "Expected whole numbers of 64 bits at most."
                )
        left -= len(below)
        if not below:
            return
        if left < 0:
            break
        level = below
    raise RosettaError(
        f"{name}: its values are too many, or too deep.\nName the file that a run wrote."
    )


def _require_text(item: str, name: str) -> None:
    try:
        item.encode()
    except UnicodeEncodeError:
        raise RosettaError(
            f"{name}: '{printable(item)}' is no text.\nName the file that a run wrote."
        ) from None


def check_closed(value: Any, name: str) -> None:
    """See that a record asks for nothing: no ``${...}``, no key of Hydra's but ``_target_``.

    Raises:
        RosettaError: it does.
    """
    for place, item in _walk(value, name):
        if isinstance(item, str) and ("${" in item or item == "???" or len(item) > LONGEST):
            what = "a text that is too long" if len(item) > LONGEST else f"'{printable(item)}'"
            raise RosettaError(
                f"{printable(place)}: {what} is refused: a file of others is data, and nothing in "
                "it is resolved.\nWrite the value itself."
            )
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str) or (key.startswith("_") and key != TARGET):
                    raise RosettaError(
                        f"{printable(place)}: the key '{printable(key)}' is refused: it is none "
                        "of a model's.\nUse the file that a run wrote."
                    )


def _walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    yield place, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(key, place)
            yield from _walk(item, f"{place}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _walk(item, f"{place}[{number}]")


def check_record(kind: type[Record], values: Any, name: str) -> Record:
    """Values as a record of its type.

    Raises:
        RosettaError: they are not.
    """
    try:
        # By way of JSON, in which lists are tuples, too, and nothing else can hide.
        return kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RosettaError(
            f"{name}: {printable(place)}: {printable(first['msg'])}; refused.\n"
            "The file is damaged, or of another version: use one that a run wrote."
        ) from None


def is_download(weights: str) -> bool:
    """Whether weights lie elsewhere than on this machine."""
    return "://" in weights and not weights.startswith(LOCAL)


def own_sources() -> set[tuple[str | None, str]]:
    """Architecture and weights of every model that the user's own configs name.

    These are the package's and, in a command, those of ``--config-dir``.
    """
    roots = {asset_root() / "conf"}
    if HydraConfig.initialized():
        places = HydraConfig.get().runtime.config_sources
        roots |= {Path(place.path) for place in places if place.schema == "file"}
    found: set[tuple[str | None, str]] = set()
    for root in roots:
        for group in ("gen", "disc", "perceptual"):
            for path in (root / group).glob("*.yaml"):
                # The user's own may have anchors, and whatever else Hydra reads.
                for _, entry in _walk(yaml.safe_load(path.read_text(encoding="utf-8")), ""):
                    if isinstance(entry, Mapping) and isinstance(entry.get("weights"), str):
                        found.add((entry.get("architecture"), public(entry["weights"])))
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
