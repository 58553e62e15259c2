"""A pickle reader that runs nothing: it builds plain values and inert records.

``pickletools.genops`` decodes the opcodes; the machine below interprets them. Python's own
unpickler imports whatever a file names and calls it. This one never imports; what it makes of a
name, :class:`~rosetta_lab.models.checkpoints.rules.Rules` decide.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable
from typing import IO, Protocol, cast

from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import (
    Buildable,
    Record,
    Rules,
    Symbol,
    check_keys,
    damage,
    name_of,
    refusal,
)

PUSHED = {  # opcodes whose argument is the value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
MAX_BITS = 512  # of a whole number; the states of random number generators have 128
MAX_MEMO = 1 << 32  # exclusive, of the numbers under which values are remembered
OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # in protocols 0 to 2

# Bytes that an opcode takes, less what its values do: a slot of the stack unless listed.
SLOT, PAIR = 16, 128  # of a list that grows; of a dict or a set that grows
COSTS = {
    **dict.fromkeys(("MARK", "EMPTY_LIST", "EMPTY_DICT", "LIST", "DICT"), 128),
    **dict.fromkeys(("EMPTY_SET", "FROZENSET"), 256),
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), 80),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), PAIR),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST"), 256),
    **dict.fromkeys(("OBJ", "BINPERSID"), 256),
}


class Stream(Protocol):
    """A file, or the map of one into memory."""

    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


class Machine:
    """The stack machine of the pickle protocols 0 to 5, without extensions.

    Args:
        rules: what the pickle may ask for.
        budget: what may be made of it, charged before anything is made.
        persistent: the value behind a persistent id; None where a format has none.
    """

    def __init__(
        self, rules: Rules, budget: Budget, persistent: Callable[[object], object] | None = None
    ) -> None:
        self.rules, self.budget, self.persistent = rules, budget, persistent
        self.symbols: set[Symbol] = set()
        self.memo: dict[int, object] = {}
        self.stack: list[object] = []
        self.outer: list[list[object]] = []  # stacks below the marks

    def run(self, stream: Stream) -> object:
        """Interpret ``stream`` up to its STOP, from where it stands, and return the value."""
        for opcode, arg, _ in pickletools.genops(cast(IO[bytes], stream)):
            self.budget.spend(COSTS.get(opcode.name, SLOT))
            self.step(opcode.name, arg)
        return self.stack.pop()

    def step(self, name: str, arg: object) -> None:
        """Interpret one opcode."""
        stack = self.stack
        match name:
            case _ if name in PUSHED:
                if isinstance(arg, int) and arg.bit_length() > MAX_BITS:
                    raise damage(f"a whole number of {arg.bit_length()} bits")
                self.budget.spend(sys.getsizeof(arg))
                stack.append(arg)
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[int(str(arg))])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                if not 0 <= (number := int(str(arg))) < MAX_MEMO:
                    raise damage("a memo without bounds")
                self.memo[number] = stack[-1]
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
                stack.append(tuple(self.take(int(name[-1]))))
            case "TUPLE" | "LIST":
                items = self.above_mark()
                self.budget.spend(SLOT * len(items))
                self.push(tuple(items) if name == "TUPLE" else items)
            case "FROZENSET":
                self.push(frozenset(self.keys(self.above_mark())))
            case "DICT":
                self.push(self.pairs(self.above_mark()))
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
                kind, args = self.take(2)
                self.make(self.rules.call, kind, args)
            case "NEWOBJ":
                kind, args = self.take(2)
                self.make(self.rules.instance, kind, args)
            case "NEWOBJ_EX":
                kind, args, kwargs = self.take(3)
                self.make(self.rules.instance, kind, args if not kwargs else (args, kwargs))
            case "INST":
                symbol = self.symbol(*str(arg).split(" ", 1))
                self.make(self.rules.call, symbol, tuple(self.above_mark()))
            case "OBJ":
                kind, *rest = self.above_mark()
                self.make(self.rules.call, kind, tuple(rest))
            case "BUILD":
                (state,) = self.take(1)
                self.build(state)
            case "BINPERSID" if self.persistent is not None:
                self.push(self.persistent(*self.take(1)))
            case "POP" if stack:
                stack.pop()
            case "POP" | "POP_MARK":
                self.above_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:  # other persistent ids, the extension registry, out-of-band buffers
                raise refusal(f"the opcode {name}")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def make(self, rule: Callable[[object, object], object], kind: object, args: object) -> None:
        """Push what a rule makes of a call, which may hold copies of the arguments."""
        for arg in args if isinstance(args, tuple) else ():
            sized = isinstance(arg, list | tuple | set | frozenset | dict)
            self.budget.spend(PAIR * len(arg) if sized else sys.getsizeof(arg))
        self.push(rule(kind, args))

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
        module, name = name_of(module), name_of(name)
        symbol = Symbol(OLD_NAMES.get(module, module), name)
        self.rules.check_name(symbol)
        self.symbols.add(symbol)
        return symbol

    def keys(self, items: list[object]) -> list[object]:
        """``items`` as members of a set."""
        check_keys(items)
        self.budget.spend(PAIR * len(items))
        return items

    def pairs(self, items: list[object]) -> dict[object, object]:
        """Keys and values that alternate, as a dict."""
        return dict(zip(self.keys(items[::2]), items[1::2], strict=True))

    def extend(self, kind: type, items: list[object]) -> None:
        """Put ``items`` into the container on top of the stack."""
        target = self.stack[-1]
        self.budget.spend(SLOT * len(items))
        if isinstance(target, Record):
            target.items.extend(items)
        elif not isinstance(target, kind):
            raise TypeError(f"items for a {kind.__name__} given to something else")
        elif isinstance(target, dict):
            target.update(self.pairs(items))
        elif isinstance(target, set):
            target.update(self.keys(items))
        elif isinstance(target, list):
            target.extend(items)

    def build(self, state: object) -> None:
        """Give ``state`` to the object on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, Buildable):
            target.build(state)
        elif not isinstance(target, dict):  # attributes of a dict subclass carry no weights
            raise TypeError("a state for something that has none")
