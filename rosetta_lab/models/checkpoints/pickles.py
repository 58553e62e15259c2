"""A pickle reader that runs nothing: it builds plain values and inert records.

``pickletools.genops`` decodes the opcodes; the machine below interprets them. Python's own
unpickler imports whatever a file names and calls it. This one never imports; what it makes of a
name, :class:`~rosetta_lab.models.checkpoints.rules.Rules` decide.
"""

from __future__ import annotations

import mmap
import pickletools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import (
    Buildable,
    Record,
    Rules,
    Symbol,
    check_keys,
    refusal,
)

PUSHED = {  # opcodes whose argument is the value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


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
