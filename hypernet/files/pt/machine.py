"""The safe pickle reader: it rebuilds tensors' descriptions, containers, numbers and text, and runs nothing.

A pickle is a small program for a stack machine. Opcodes are decoded by `pickletools`, which only parses; what they do
is done here. A name the file asks for (`torch._utils._rebuild_tensor_v2`, `collections.OrderedDict`, ...) is looked up
in `KNOWN`, never imported: each known name stands for a function of ours that checks its arguments. All else is
refused, as is any opcode that could make or change an object of another kind.

Format: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from hypernet.files.errors import MALICIOUS, OTHER_MODEL, Refused, shown
from hypernet.files.pt.names import KNOWN, Known, NumpyType, StorageType, persistent

MAX_BYTES = 1 << 20
"""Of one pickle. That of a usual hypernetwork has a few thousand."""
MAX_OPERATIONS = 100_000
MAX_TEXT = 1 << 16
"""Characters."""
MAX_BITS = 128
"""Of a whole number."""

OTHER_MODELS = ("pytorch_lightning", "lightning", "torch.nn", "omegaconf", "transformers", "diffusers")
"""Packages whose classes stand in the pickles of checkpoints and embeddings."""


def unpickle(data: bytes, start: int = 0) -> tuple[Any, int]:
    """The object pickled at `start` and the position behind it.

    Tensors come as `PickledTensor`. Raises Refused for what is not allowed or too large, and any of Python's own errors
    (IndexError, TypeError, ValueError, ...) for a stream that makes no sense.
    """
    machine = _Machine()
    stream = io.BytesIO(data)
    stream.seek(start)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count >= MAX_OPERATIONS:
            raise Refused("it holds far more than a hypernetwork does.", OTHER_MODEL)
        if opcode.name == "STOP":
            break
        action = OPERATIONS.get(opcode.name)
        if action is None:
            raise Refused(f"it wants to make an object of its own (pickle's {opcode.name}).", MALICIOUS)
        action(machine, argument)
    return machine.stack.pop(), stream.tell()


class _Machine:
    """pickle's stack, the stacks put aside by MARK, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.aside.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.aside.pop()
        return items

    def take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("stack underflow")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items


def _proto(machine: _Machine, version: int) -> None:
    if version > 5:
        raise Refused(f"it is a pickle of version {version}, which does not exist.")


def _frame(machine: _Machine, length: int) -> None:
    if length > MAX_BYTES:
        raise Refused("it holds far more than a hypernetwork does.", OTHER_MODEL)


def _value(machine: _Machine, argument: Any) -> None:
    if isinstance(argument, str) and len(argument) > MAX_TEXT:
        raise Refused(f"it holds a text of {len(argument):,} characters, longer than any in a hypernetwork.")
    if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
        raise Refused("it holds a number with more digits than any in a hypernetwork.")
    machine.push(argument)


def _constant(value: object) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.push(value)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.push(tuple(machine.take(count)))


def _set_items(target: Any, items: list[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise TypeError("items for what is not a dict")
    for key in items[::2]:
        # Hashing a deeply nested tuple would exhaust C's stack, so that only plain keys are hashed.
        if not isinstance(key, (str, int)):
            raise Refused("it has a key that is neither a text nor a whole number.")
    target.update(zip(items[::2], items[1::2], strict=True))


def _dict(machine: _Machine, argument: Any) -> None:
    made: dict[Any, Any] = {}
    _set_items(made, machine.since_mark())
    machine.push(made)


def _setitem(machine: _Machine, argument: Any) -> None:
    items = machine.take(2)
    _set_items(machine.stack[-1], items)


def _setitems(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    _set_items(machine.stack[-1], items)


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise TypeError("items for what is not a list")
    target.extend(items)


def _append(machine: _Machine, argument: Any) -> None:
    items = machine.take(1)
    _extend(machine.stack[-1], items)


def _appends(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    _extend(machine.stack[-1], items)


def _pop(machine: _Machine, argument: Any) -> None:
    machine.take(1)


def _pop_mark(machine: _Machine, argument: Any) -> None:
    machine.since_mark()


def _put(machine: _Machine, slot: int) -> None:
    if not 0 <= slot < MAX_OPERATIONS:
        raise Refused("it refers to itself in a way that no hypernetwork does.")
    machine.memo[slot] = machine.stack[-1]


def _memoize(machine: _Machine, argument: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _known(module: object, name: object) -> Known | StorageType:
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused("it asks for a part of the program that has no name.", MALICIOUS)
    if (found := KNOWN.get((module, name))) is not None:
        return found
    asked = shown(f"{module}.{name}")
    if f"{module}.".startswith(tuple(f"{package}." for package in OTHER_MODELS)):
        raise Refused(f"it holds parts of another program: {asked}.", OTHER_MODEL)
    raise Refused(f"it asks for a part of the program to be run: {asked}.", MALICIOUS)


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push(_known(module, name))


def _stack_global(machine: _Machine, argument: Any) -> None:
    machine.push(_known(*machine.take(2)))


def _reduce(machine: _Machine, argument: Any) -> None:
    function, arguments = machine.take(2)
    if not isinstance(function, Known) or type(arguments) is not tuple:
        raise Refused("it wants to call something that can't be called in a hypernetwork.", MALICIOUS)
    machine.push(function.build(*arguments))


def _build(machine: _Machine, argument: Any) -> None:
    """Sets an object's state. torch's state dicts bring a `_metadata` that holds no weights: it is passed over."""
    state = machine.take(1)[0]
    target = machine.stack[-1]
    if isinstance(target, NumpyType):
        target.check_state(state)
    elif type(target) is not dict:
        raise Refused("it wants to change an object (pickle's BUILD).", MALICIOUS)


OPERATIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _proto,
    "FRAME": _frame,
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"), _value),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _value),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), _value),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": _tuple(0),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "MARK": lambda machine, _: machine.mark(),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "DICT": _dict,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, slot: machine.push(machine.memo[slot])),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": lambda machine, _: machine.push(persistent(*machine.take(1))),
}
"""What each allowed opcode does. INST, OBJ, NEWOBJ, EXT, sets, buffers and text persistent ids are not allowed."""
