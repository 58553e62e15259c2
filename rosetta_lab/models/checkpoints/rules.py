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

from rosetta_lab.errors import RosettaError

NO_NETWORKS = sys.stdlib_module_names | {"numpy", "__builtin__"}


@dataclass(frozen=True)
class Symbol:
    """A global that a pickle names. Nothing but its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Buildable:
    """Base of values that take a state (BUILD)."""

    def build(self, state: object) -> None:
        raise NotImplementedError


@dataclass(eq=False)
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


def damage(what: str) -> RosettaError:
    return RosettaError(f"damaged: the pickle holds {what}.\nDelete it and download it again.")


def check_keys(keys: Iterable[object]) -> None:
    """Raise if a key of a dict or a member of a set is nested.

    Tuples can share their parts so often that a hash never ends.
    """
    for key in keys:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, tuple | frozenset) for part in parts):
            raise damage("a key made of nested tuples")
