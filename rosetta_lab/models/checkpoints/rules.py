"""What a pickle may ask for, and what stands for it.

A global that a pickle names is only a :class:`Symbol`, that is, two strings. What may happen to it:

* *Called* (REDUCE, INST, OBJ): if it is in ``calls``, this project's own function for it runs; if
  it is in ``stubs`` or below one of ``stub_packages``, a :class:`Record` notes the call, which
  never happens; anything else is refused by name.
* *Instantiated as a class* (NEWOBJ): the function in ``calls``, otherwise a :class:`Record`.
* *Just named*: kept as it is, except that names from Python's standard library and NumPy that are
  on none of the lists are refused at once. No network is made of those. So are such names when a
  function of ours makes a symbol of them, as dill's ways to spell a global do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field

from rosetta_lab.errors import RosettaError, printable

NO_NETWORKS = sys.stdlib_module_names | {"numpy"}
MAX_NAME = 500  # characters; those of real networks' tensors are below 200
MAX_KEY = 1 << 60  # of whole numbers: from 2 ** 61 - 1 on, they can be chosen to share one hash


@dataclass(frozen=True)
class Symbol:
    """A global that a pickle names. Nothing but its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Buildable:
    """Base of values that take a state (BUILD)."""

    __slots__ = ()

    def build(self, state: object) -> None:
        raise NotImplementedError


@dataclass(eq=False, repr=False, slots=True)
class Record(Buildable):
    """Stands for an object whose class was not imported.

    Attributes:
        kind: the class, or the callable that would have made it.
        args: what that would have been called with.
        state: what its ``__setstate__`` would have been given.
        items: what would have been set by key, appended or added.
    """

    kind: Symbol
    args: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)

    def build(self, state: object) -> None:
        self.state = state

    def __repr__(self) -> str:  # of nothing that it holds, which may have no end
        return f"<{self.kind}>"


@dataclass(frozen=True)
class Rules:
    """What a pickle may ask for; see the top of this module.

    Attributes:
        calls: our functions, by the globals that they stand for.
        names: globals that may be named; a call of one is refused.
        stubs: globals whose calls are noted.
        stub_packages: beginnings of modules all of whose globals are like ``stubs``.
    """

    calls: Mapping[Symbol, Callable[..., object]]
    names: Set[Symbol] = frozenset()
    stubs: Set[Symbol] = frozenset()
    stub_packages: tuple[str, ...] = ()

    def check_name(self, symbol: Symbol) -> None:
        """Raise unless ``symbol`` may be named at all."""
        listed = symbol in self.calls or symbol in self.names or symbol in self.stubs
        if not listed and symbol.module.partition(".")[0] in NO_NETWORKS:
            raise refusal(symbol)

    def call(self, symbol: object, args: object) -> object:
        """The value that a call of ``symbol`` stands for."""
        if not isinstance(symbol, Symbol):
            raise refusal(f"a call of a value of type {type(symbol).__name__}")
        if not isinstance(args, tuple):
            raise TypeError("arguments that are no tuple")
        if symbol in self.calls:
            return self._made(symbol, args)
        if symbol in self.stubs or symbol.module.startswith(self.stub_packages):
            return Record(symbol, args)
        raise refusal(symbol)

    def instance(self, symbol: object, args: object) -> object:
        """The value that an instance of the class ``symbol`` stands for."""
        if not isinstance(symbol, Symbol) or not isinstance(args, tuple):
            raise TypeError("an instance of something that is no class")
        return self._made(symbol, args) if symbol in self.calls else Record(symbol, args)

    def _made(self, symbol: Symbol, args: tuple[object, ...]) -> object:
        value = self.calls[symbol](*args)
        if isinstance(value, Symbol):
            self.check_name(value)
        return value


def refusal(wanted: object) -> RosettaError:
    """An error that names a symbol, or what ``wanted`` says; never the whole of some value."""
    known = isinstance(wanted, Symbol | str)
    name = " ".join(str(wanted).split())[:200] if known else f"a {type(wanted).__name__}"
    return RosettaError(
        f"refused: the pickle asks for {name}, which no network needs. Nothing was run.\n"
        "Get the checkpoint from its official source, or as safetensors, and pass weights=PATH."
    )


def damage(what: str, where: str = "pickle") -> RosettaError:
    return RosettaError(
        f"damaged or truncated: the {where} holds {what}.\nDelete it and download it again."
    )


def explained(error: Exception, subject: str) -> RosettaError:
    """What went wrong while ``subject`` was read, of whose contents nothing can be expected."""
    if isinstance(error, RosettaError):
        return RosettaError(f"{subject}: {error}")
    if isinstance(error, MemoryError):
        return RosettaError(
            f"{subject}: refused: it takes more memory than a file of its size can need.\n"
            "Get the checkpoint from its official source, and pass weights=PATH."
        )
    reason = printable(f"{type(error).__name__}: {error}")
    return RosettaError(
        f"{subject}: damaged, truncated or not a checkpoint that is known ({reason}).\n"
        "Delete it and download it again, or pass weights=PATH with another."
    )


def name_of(value: object) -> str:
    """``value``, if it is a name: text without line breaks or invisible characters, not too long.

    Raises:
        RosettaError: it is something else, which nobody should join to other names or print.
    """
    if not isinstance(value, str):
        raise damage(f"a {type(value).__name__} as a name")
    if len(value) > MAX_NAME or not value.isprintable():
        raise damage(f"{value[:40]!r}, {len(value)} characters long, as a name")
    return value


def check_keys(keys: Iterable[object]) -> None:
    """Raise if a key of a dict or a member of a set is anything but text, a number or an object.

    Tuples can share their parts so often that a hash never ends, and can be chosen so that many
    have the same hash, as whole numbers can.
    """
    for key in keys:
        if isinstance(key, int):
            fine = -MAX_KEY < key < MAX_KEY
        else:
            fine = key is None or isinstance(key, str | bytes | float | Symbol | Record)
        if not fine:
            raise damage(f"a {type(key).__name__} as a key")
