"""The safe pickle reader: it rebuilds tensors' descriptions, containers, numbers and text, and runs nothing.

A pickle is a small program for a stack machine. Opcodes are decoded by `pickletools`, which only parses; what they do
is done here. A name the file asks for (`torch._utils._rebuild_tensor_v2`, `collections.OrderedDict`, ...) is looked up
in `ALLOWED`, never imported: each known name stands for a function of ours that checks its arguments. All else is
refused, as is any opcode that could make or change an object of another kind.

Format: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hypernet.files.errors import MALICIOUS, OTHER_MODEL, TOO_MUCH, FormatError, damaged, shown
from hypernet.files.limits import MAX_BITS, MAX_OPERATIONS, MAX_PICKLE, MAX_TEXT
from hypernet.files.pt.names import (
    ALLOWED,
    Allowed,
    Call,
    NumpyType,
    PickledArray,
    PickledBytes,
    PickledStorage,
    persistent_storage,
    refuse_tensors,
)
from hypernet.files.source import Source
from hypernet.files.weights import LongText, Packed

_OTHER_MODELS = ("pytorch_lightning", "lightning", "torch.nn", "omegaconf", "transformers", "diffusers")
"""Packages whose classes stand in the pickles of checkpoints and embeddings."""


class Unpickled(NamedTuple):
    """What a pickle holds."""

    value: Any
    """Tensors come as `PickledTensor`."""
    end: int
    """The position in the file behind it."""
    storages: Mapping[str, PickledStorage]
    """Every storage it names, by key."""


def unpickle(source: Source, start: int, end: int) -> Unpickled:
    """Reads the pickle that begins at `start`, up to `end` at most. Both are positions in the file.

    Raises FormatError for what is not allowed, too large or makes no sense.
    """
    machine = _Machine()
    program = _Program(source, start, end)
    for _ in range(MAX_OPERATIONS):
        opcode, argument = program.next()
        if opcode == "STOP":
            machine.refuse_long_texts()
            return Unpickled(machine.pop(), program.tell(), machine.storages)
        action = _OPERATIONS.get(opcode)
        if action is None:
            raise FormatError(f"it wants to make an object of its own (pickle's {opcode}).", MALICIOUS)
        action(machine, argument)
    raise FormatError(TOO_MUCH, OTHER_MODEL)


class _Program:
    """A pickle's instructions, read from the file as they are needed. To `pickletools`, it is a file."""

    def __init__(self, source: Source, start: int, end: int) -> None:
        self._source, self._position, self._end = source, start, end
        self._window, self._window_start = b"", start
        self._left = MAX_PICKLE
        self._longest_line = MAX_TEXT

    def next(self) -> tuple[str, Any]:
        """The name of the next opcode, and its argument."""
        opcode = _OPCODES.get(self.read(1))
        if opcode is None:
            raise damaged()
        if opcode.name in _COUNTED:
            return opcode.name, self._text(*_COUNTED[opcode.name])
        self._longest_line = _LONGEST_NUMBER if opcode.name in _NUMBERS else MAX_TEXT
        try:
            # mypy knows `reader` for readers of binary files alone, and this is one in all that they use
            argument: Any = None if opcode.arg is None else opcode.arg.reader(self)  # type: ignore[arg-type]
        except (ValueError, OverflowError, struct.error):
            raise damaged() from None
        if opcode.name == "FRAME" and argument > self._end - self._position:
            raise damaged()
        return opcode.name, argument

    def _text(self, digits: int, is_text: bool) -> Any:
        """A text or bytes behind their length. Those that only weights need stay in the file."""
        length = int.from_bytes(self.read(digits), "little")
        if length > 4 * MAX_TEXT:
            return self._left_behind(length, is_text)
        start, data = self._position, self.read(length)
        try:
            found = data.decode("utf-8", "surrogatepass") if is_text else data
        except UnicodeError:
            raise damaged() from None
        return found if len(found) <= MAX_TEXT else LongText(start, length, is_text)

    def _left_behind(self, length: int, is_text: bool) -> LongText:
        start = self._position
        if length > self._end - start:
            raise damaged()
        self._position += length
        return LongText(start, length, is_text)

    def tell(self) -> int:
        return self._position

    def read(self, length: int) -> bytes:
        if not 0 <= length <= self._end - self._position:
            raise damaged()
        begin = self._position - self._window_start
        if begin + length > len(self._window):
            begin = self._look_ahead(length)
        self._move(length)
        return self._window[begin : begin + length]

    def readline(self) -> bytes:
        begin = self._position - self._window_start
        end = self._window.find(b"\n", begin) + 1
        if not end:
            begin = self._look_ahead(MAX_TEXT)
            end = self._window.find(b"\n") + 1
        if not 0 < end - begin <= self._longest_line:
            raise FormatError("it holds a line longer than any in a hypernetwork, or is damaged.")
        self._move(end - begin)
        return self._window[begin:end]

    def _look_ahead(self, length: int) -> int:
        """Has the next `length` bytes in the window, or as many as there are. Returns where they begin in it."""
        self._window_start = self._position
        self._window = self._source.bytes_at(self._position, min(max(length, MAX_TEXT), self._end - self._position))
        return 0

    def _move(self, length: int) -> None:
        self._position += length
        self._left -= length
        if self._left < 0:
            raise FormatError(TOO_MUCH, OTHER_MODEL)


_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_COUNTED = {"BINUNICODE": (4, True), "BINUNICODE8": (8, True), "BINBYTES": (4, False), "BINBYTES8": (8, False)}
"""Opcodes of texts and bytes with their length in front -> bytes of that length, and whether it is a text."""
_NUMBERS = ("INT", "LONG", "FLOAT", "PUT", "GET")
"""Opcodes of numbers in digits. Python needs seconds for a million of them."""
_LONGEST_NUMBER = 64  # characters


class _Machine:
    """pickle's stack, the stacks put aside by MARK, and the memo."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._aside: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self.storages: dict[str, PickledStorage] = {}
        self._for_arrays: set[Packed] = set()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def top(self) -> Any:
        if not self._stack:
            raise damaged()
        return self._stack[-1]

    def pop(self) -> Any:
        return self.take(1)[0]

    def take(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise damaged()
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def mark(self) -> None:
        self._aside.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        if not self._aside:
            raise damaged()
        items, self._stack = self._stack, self._aside.pop()
        return items

    def remember(self, slot: int | None = None) -> None:
        slot = len(self._memo) if slot is None else slot
        if not 0 <= slot < MAX_OPERATIONS:
            raise FormatError("it refers to itself in a way that no hypernetwork does.")
        self._memo[slot] = self.top()

    def recall(self, slot: int) -> None:
        if slot not in self._memo:
            raise damaged()
        self.push(self._memo[slot])

    def name_storage(self, storage: PickledStorage) -> None:
        """PyTorch reads a storage once, as what it is called first: called otherwise, it would be other numbers."""
        if self.storages.setdefault(storage.key, storage) != storage:
            raise FormatError("two tensors disagree about the data they share.", MALICIOUS)
        self.push(storage)

    def push_packed(self, value: Any) -> None:
        """Pushes a text or bytes. Only an array's numbers are long texts, or bytes of any length to speak of."""
        if isinstance(value, LongText):
            self._for_arrays.add(value)
        elif isinstance(value, PickledBytes) and value.is_long:
            self._for_arrays.add(value.packed)
        self.push(value)

    def fill_array(self, array: PickledArray, state: Any) -> None:
        array.set_state(state)
        self._for_arrays.discard(array.packed)

    def refuse_long_texts(self) -> None:
        for text in self._for_arrays:
            length = text.length if isinstance(text, LongText) else len(text)
            raise FormatError(f"it holds a text of {length:,} bytes, longer than any in a hypernetwork.")


_Action = Callable[[_Machine, Any], None]


def _proto(machine: _Machine, version: int) -> None:
    if version > 5:
        raise FormatError(f"it is a pickle of version {version}, which does not exist.")


def _frame(machine: _Machine, length: int) -> None:
    """A hint for readers that load a file in pieces."""


def _value(machine: _Machine, argument: Any) -> None:
    if isinstance(argument, str) and len(argument) > MAX_TEXT:
        raise FormatError(f"it holds a text of {len(argument):,} characters, longer than any in a hypernetwork.")
    if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
        raise FormatError("it holds a number with more digits than any in a hypernetwork.")
    is_bytes = isinstance(argument, bytes) or (isinstance(argument, LongText) and not argument.encoded)
    machine.push_packed(PickledBytes(argument) if is_bytes else argument)


def _constant(value: object) -> _Action:
    return lambda machine, argument: machine.push(value)


def _tuple(count: int) -> _Action:
    return lambda machine, argument: machine.push(tuple(machine.take(count)))


def _set_items(target: Any, items: list[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise damaged()
    for key in items[::2]:
        # Hashing a deeply nested tuple would exhaust C's stack, so that only plain keys are hashed.
        if not isinstance(key, (str, int)):
            raise FormatError("it has a key that is neither a text nor a whole number.")
    target.update(zip(items[::2], items[1::2], strict=True))


def _dict(machine: _Machine, argument: Any) -> None:
    made: dict[Any, Any] = {}
    _set_items(made, machine.since_mark())
    machine.push(made)


def _setitem(machine: _Machine, argument: Any) -> None:
    items = machine.take(2)
    _set_items(machine.top(), items)


def _setitems(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    _set_items(machine.top(), items)


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise damaged()
    target.extend(items)


def _append(machine: _Machine, argument: Any) -> None:
    items = machine.take(1)
    _extend(machine.top(), items)


def _appends(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    _extend(machine.top(), items)


def _pop(machine: _Machine, argument: Any) -> None:
    machine.pop()


def _pop_mark(machine: _Machine, argument: Any) -> None:
    machine.since_mark()


def _allowed(module: object, name: object) -> Allowed:
    if not isinstance(module, str) or not isinstance(name, str):
        raise FormatError("it asks for a part of the program that has no name.", MALICIOUS)
    if (found := ALLOWED.get((module, name))) is not None:
        return found
    refuse_tensors(module, name)
    asked = shown(f"{module}.{name}")
    if f"{module}.".startswith(tuple(f"{package}." for package in _OTHER_MODELS)):
        raise FormatError(f"it holds parts of another program: {asked}.", OTHER_MODEL)
    raise FormatError(f"it asks for a part of the program to be run: {asked}.", MALICIOUS)


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push(_allowed(module, name))


def _stack_global(machine: _Machine, argument: Any) -> None:
    machine.push(_allowed(*machine.take(2)))


def _reduce(machine: _Machine, argument: Any) -> None:
    function, arguments = machine.take(2)
    if not isinstance(function, Call) or type(arguments) is not tuple:
        raise FormatError("it wants to call something that can't be called in a hypernetwork.", MALICIOUS)
    machine.push_packed(function(arguments))


def _build(machine: _Machine, argument: Any) -> None:
    """Sets an object's state. torch's state dicts bring a `_metadata` that holds no weights: it is passed over."""
    state = machine.pop()
    target = machine.top()
    if isinstance(target, NumpyType):
        target.set_state(state)
    elif isinstance(target, PickledArray):
        machine.fill_array(target, state)
    elif type(target) is not dict:
        raise FormatError("it wants to change an object (pickle's BUILD).", MALICIOUS)


_OPERATIONS: Mapping[str, _Action] = {
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
    "DUP": lambda machine, _: machine.push(machine.top()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    "MEMOIZE": lambda machine, _: machine.remember(),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": lambda machine, _: machine.name_storage(persistent_storage(machine.pop())),
}
"""What each allowed opcode does. INST, OBJ, NEWOBJ, EXT, sets, buffers and text persistent ids are not allowed."""
