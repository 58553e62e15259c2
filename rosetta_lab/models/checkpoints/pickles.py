"""A pickle reader that runs nothing: it builds plain values and inert records.

``pickletools.genops`` decodes the opcodes; the machine below interprets them. Python's own
unpickler imports whatever a file names and calls it. This one never imports: a global is only a
:class:`Symbol`, that is, two strings. What may happen to a symbol:

* *Called* (REDUCE, INST, OBJ): if it is in ``calls``, this project's own function for it runs; if
  it is in ``stubs`` or below one of ``stub_packages``, a :class:`Record` notes the call, which
  never happens; anything else is refused by name.
* *Instantiated as a class* (NEWOBJ): the function in ``calls``, otherwise a :class:`Record`.
* *Just named*: kept as it is, except that names from Python's standard library and NumPy that are
  on none of the lists are refused at once. No network is made of those. So are such names when a
  function of ours makes a symbol of them, as dill's ways to spell a global do.
"""

from __future__ import annotations

import mmap
import pickletools
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget

NO_NETWORKS = sys.stdlib_module_names | {"numpy", "__builtin__"}

PUSHED = {  # opcodes whose argument is the value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


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
            value = self.calls[symbol](*args)
            if isinstance(value, Symbol):
                self.check_name(value)
            return value
        if symbol in self.stubs or symbol.module.startswith(self.stub_packages):
            return Record(symbol, args)
        raise refusal(symbol)

    def instance(self, symbol: object, args: object) -> object:
        """The value that an instance of the class ``symbol`` stands for."""
        if not isinstance(symbol, Symbol) or not isinstance(args, tuple):
            raise TypeError("an instance of something that is no class")
        return self.calls[symbol](*args) if symbol in self.calls else Record(symbol, args)


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


@dataclass(frozen=True)
class Pickle:
    """Result of :func:`read_pickle`.

    Attributes:
        root: the value.
        symbols: all globals that were named on the way.
        budget: what may still be made of the value.
    """

    root: object
    symbols: frozenset[Symbol]
    budget: Budget


def read_pickle(path: Path, rules: Rules) -> Pickle:
    """Read the pickle at ``path`` without running anything in it.

    Raises:
        RosettaError: it asks for something outside ``rules``, or is damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            machine = Machine(rules, Budget(path))
            return Pickle(machine.run(view), frozenset(machine.symbols), machine.budget)
    except RosettaError as error:
        raise RosettaError(f"{path}: {error}") from error
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RosettaError(
            f"{path}: damaged or truncated: {reason}.\nDelete it and download it again."
        ) from error


class Machine:
    """The stack machine of the pickle protocols 0 to 5, without persistent ids and extensions."""

    def __init__(self, rules: Rules, budget: Budget) -> None:
        self.rules, self.budget = rules, budget
        self.symbols: set[Symbol] = set()
        self.memo: dict[int, object] = {}
        self.stack: list[object] = []
        self.outer: list[list[object]] = []  # stacks below the marks

    def run(self, stream: mmap.mmap) -> object:
        """Interpret ``stream`` up to its STOP and return the value."""
        for opcode, arg, _ in pickletools.genops(cast(IO[bytes], stream)):
            self.step(opcode.name, arg)
        return self.stack.pop()

    def step(self, name: str, arg: object) -> None:
        """Interpret one opcode."""
        stack = self.stack
        match name:
            case _ if name in PUSHED:
                stack.append(arg)
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[int(str(arg))])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[int(str(arg))] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "MARK":
                self.outer.append(stack)
                self.stack = []
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE" | "EMPTY_SET":
                empty = {"LIST": list, "DICT": dict, "TUPLE": tuple, "SET": set}
                stack.append(empty[name.removeprefix("EMPTY_")]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.push(tuple(self.take(int(name[-1]))))
            case "TUPLE" | "LIST" | "FROZENSET":
                items = self.above_mark()
                if name == "FROZENSET":
                    check_keys(items)
                kinds = {"TUPLE": tuple, "LIST": list, "FROZENSET": frozenset}
                self.push(kinds[name](items))
            case "DICT":
                self.push(_pairs(self.above_mark()))
            case "SETITEM" | "SETITEMS":
                items = self.take(2) if name == "SETITEM" else self.above_mark()
                self.extend(dict, items)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = self.take(1) if name == "APPEND" else self.above_mark()
                self.extend(set if name == "ADDITEMS" else list, items)
            case "GLOBAL":
                self.push(self.symbol(*str(arg).split(" ", 1)))
            case "STACK_GLOBAL":
                self.push(self.symbol(*self.take(2)))
            case "REDUCE":
                self.push_made(self.rules.call(*self.take(2)))
            case "NEWOBJ":
                self.push_made(self.rules.instance(*self.take(2)))
            case "NEWOBJ_EX":
                kind, args, kwargs = self.take(3)
                self.push_made(self.rules.instance(kind, args if not kwargs else (args, kwargs)))
            case "INST":
                symbol = self.symbol(*str(arg).split(" ", 1))
                self.push_made(self.rules.call(symbol, tuple(self.above_mark())))
            case "OBJ":
                kind, *rest = self.above_mark()
                self.push_made(self.rules.call(kind, tuple(rest)))
            case "BUILD":
                (state,) = self.take(1)
                self.build(state)
            case "POP" if stack:
                stack.pop()
            case "POP" | "POP_MARK":
                self.above_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:  # persistent ids, the extension registry, out-of-band buffers
                raise refusal(f"the opcode {name}")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def push_made(self, value: object) -> None:
        """Push what a call has made: perhaps a copy of something large, of which few are needed."""
        self.budget.spend(sys.getsizeof(value))
        self.push(value)

    def take(self, count: int) -> list[object]:
        """Pop ``count`` values, in the order in which they were pushed."""
        if len(self.stack) < count:
            raise IndexError("the stack has run empty")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def above_mark(self) -> list[object]:
        """Pop everything above the last mark, and the mark."""
        values, self.stack = self.stack, self.outer.pop()
        return values

    def symbol(self, module: object = "", name: object = "") -> Symbol:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global whose name is no text")
        symbol = Symbol(module, name)
        self.rules.check_name(symbol)
        self.symbols.add(symbol)
        return symbol

    def extend(self, kind: type, items: list[object]) -> None:
        """Put ``items`` into the container on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif not isinstance(target, kind):
            raise TypeError(f"items for a {kind.__name__} given to something else")
        elif isinstance(target, dict):
            target.update(_pairs(items))
        elif isinstance(target, set):
            check_keys(items)
            target.update(items)
        elif isinstance(target, list):
            target.extend(items)

    def build(self, state: object) -> None:
        """Give ``state`` to the object on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, Buildable):
            target.build(state)
        elif not isinstance(target, dict):  # attributes of a dict subclass carry no weights
            raise TypeError("a state for something that has none")


def _pairs(items: list[object]) -> dict[object, object]:
    """Keys and values that alternate, as a dict."""
    check_keys(items[::2])
    return dict(zip(items[::2], items[1::2], strict=True))


def check_keys(keys: Iterable[object]) -> None:
    """Raise if a key of a dict or a member of a set is nested.

    Tuples can share their parts so often that a hash never ends.
    """
    for key in keys:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, tuple | frozenset) for part in parts):
            raise damage("a key made of nested tuples")
