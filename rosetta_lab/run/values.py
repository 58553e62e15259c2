"""Values of a run's config, before anything is loaded: of their default's kind, and in range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import asset_root
from rosetta_lab.run.memory import parsed_bytes

ELSEWHERE = ("defaults", "hydra", "module", "datamodule")  # what Hydra and constructors look at


class Kind(NamedTuple):
    """What a value may be: in words, and whether one is."""

    words: str
    holds: Callable[[Any], bool]


def _whole(least: int) -> Kind:
    return Kind(f"a whole number from {least} on", lambda x: type(x) is int and x >= least)


def _number(words: str, holds: Callable[[float], bool] = math.isfinite) -> Kind:
    return Kind(words, lambda x: type(x) in (int, float) and math.isfinite(x) and holds(x))


def _or(kind: Kind, words: str, value: object) -> Kind:
    return Kind(f"{words} or {kind.words}", lambda x: x == value or kind.holds(x))


def _some(kind: Kind, words: str) -> Kind:
    def hold(value: Any) -> bool:
        return bool(value) and all(map(kind.holds, value))

    return Kind(words, lambda x: hold(x) if isinstance(x, list) else kind.holds(x))


COUNT, FROM_0, NUMBER = _whole(1), _whole(0), _number("a number")
TEXT = Kind("a text", lambda x: isinstance(x, str))
TRUTH = Kind("true or false", lambda x: isinstance(x, bool))
NUMBERS = _some(FROM_0, "a whole number from 0 on, or a list of such")
SHARE = _number("a number from 0 to 1", lambda x: 0 <= x <= 1)
BYTES = Kind("auto, or bytes such as 12GB", lambda x: x == "auto" or parsed_bytes(x) is not None)
TEXTS = Kind("a list", lambda x: isinstance(x, list) and all(map(TEXT.holds, x)))
REFERENCE = Kind(
    "null or names, each with figures and their numbers", lambda x: x is None or _table(x)
)
# Of keys, or of one command's, whose default tells too little. Those in the second may be null.
KINDS = {
    "level": _number("a number between 0 and 1", lambda x: 0 < x < 1),
    "rampup": SHARE,
    "rampdown": SHARE,
    "frames": FROM_0,
    **dict.fromkeys(("disk", "memory"), BYTES),
    **dict.fromkeys(("bridge.transfer", "bridge.skip", "bridge.shown", "bridge.pictures"), FROM_0),
    **dict.fromkeys(("bridge.max_fdr", "max_chance"), SHARE),
    "inversion.steps": FROM_0,
    "bench_mining.reference_images": FROM_0,
    "compare.reference": REFERENCE,
    "invert.reference": REFERENCE,
    "measure": _number("a number from 0 on", lambda x: x >= 0),
    "runs": TEXTS,
    "dictionaries": TEXTS,
    "matches": _some(TEXT, "a name or a list of names"),
}
NULLABLE = {
    "psi": NUMBER,
    "lr": _number("a number above 0", lambda x: x > 0),
    **dict.fromkeys(("k", "k_gen", "k_disc", "pairs", "draws", "blocks"), COUNT),
    **dict.fromkeys(("target", "neuron"), FROM_0),
    **dict.fromkeys(("concepts", "neurons", "classes"), NUMBERS),
}


def _table(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(row, dict) and all(map(NUMBER.holds, row.values())) for row in value.values()
    )


def check_kinds(command: str, cfg: DictConfig) -> None:
    """See that a config's values are of their kinds.

    Args:
        command: its config's name.
        cfg: of the run.

    Raises:
        RosettaError: the first that is not.
    """
    own = OmegaConf.load(asset_root() / "conf" / f"{command}.yaml")
    defaults: Any = OmegaConf.to_container(own, resolve=False)
    _check({k: v for k, v in defaults.items() if k not in ELSEWHERE}, cfg, command)


def _check(defaults: dict[str, Any], cfg: DictConfig, command: str, path: str = "") -> None:
    for name, default in defaults.items():
        if name not in cfg:
            continue
        key = f"{path}{name}"
        try:
            value = cfg[name]
        except OmegaConfBaseException:  # of a reference; whoever uses it tells
            continue
        if isinstance(default, dict) and isinstance(value, DictConfig):
            _check(default, value, command, f"{key}.")
            continue
        kind = KINDS.get(f"{command}.{key}") or kind_of(key, default)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if value is None and isinstance(default, str):  # a reference to something that is null
            continue
        if kind is not None and not kind.holds(value):
            raise RosettaError(
                f"{printable(f'{key}={value}')}: expected {kind.words}.\n"
                f"Leave {key}= out for {printable(str(default).lower())}."
            )


def kind_of(key: str, default: Any) -> Kind | None:
    """What a key's value may be, as its default tells; None for anything."""
    if key in KINDS:
        return KINDS[key]
    if key in NULLABLE and default is None:
        return _or(NULLABLE[key], "null", None)
    if key in NULLABLE:
        return NULLABLE[key]
    if isinstance(default, bool):
        return TRUTH
    if isinstance(default, int):
        return COUNT if default else FROM_0
    if isinstance(default, float):
        return NUMBER
    if default == "auto" and key in ("batch_size", "row_blocks"):
        return _or(COUNT, "auto", "auto")
    if isinstance(default, list) and default and all(map(FROM_0.holds, default)):
        return NUMBERS
    return None
