"""What a file says about itself <-> `Metadata`. The keys are those A1111 and MonkeyPatch write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from hypernet.files.errors import FormatError, shown
from hypernet.files.limits import MAX_BITS, MAX_EXTRA_VALUES, MAX_TEXT
from hypernet.network import ACTIVATIONS, Metadata
from hypernet.network.activations import IDENTITY, LEARNED, UNUSABLE

TEXTS = ("name", "activation_func", "weight_initialization", "sd_checkpoint", "sd_checkpoint_name", "optional_info")
"""Keys whose value is a text."""
SWITCHES = ("is_layer_norm", "activate_output", "use_dropout", "last_layer_dropout", "skip_connection")
"""Keys whose value is true or false."""
SERIES = ("layer_structure", "dropout_structure")
"""Keys whose value is a list of numbers."""
A1111_KEYS = (
    *("step", "name", "layer_structure", "activation_func", "is_layer_norm", "weight_initialization"),
    *("sd_checkpoint", "sd_checkpoint_name", "activate_output", "use_dropout", "dropout_structure"),
    *("last_layer_dropout", "optional_info"),
)
"""What A1111 1.10.1 writes, in its order."""
MONKEYPATCH_KEYS = ("skip_connection", "upsample_linear")
"""Keys that only MonkeyPatch writes."""

NOT_KEPT = ("optimizer_state_dict",)
"""Early files carry the training's optimizer, twice as large as the network; it is of no use here."""

_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def read_values(values: Mapping[str, object]) -> Metadata:
    """Metadata from a file's raw values. A value of the wrong type is treated as absent; it stays in `extra`.

    What is not plain (a tensor, bytes) is left out.
    """
    known: dict[str, Any] = {}
    extra: dict[str, object] = {}
    budget = iter(range(MAX_EXTRA_VALUES))
    for key, value in values.items():
        if key in NOT_KEPT:
            continue
        _text(key)
        if key in _KNOWN and (read := _read(key, value)) is not _WRONG:
            known[key] = read
        elif (kept := _plain(value, budget)) is not _WRONG:
            extra[key] = kept
    keys = tuple(key for key in values if key in known or key in extra)
    return Metadata(**known, extra=extra, keys=keys)


def values_to_write(metadata: Metadata) -> dict[str, object]:
    """The raw values of a file that says the same: the keys it had, and every other that was set since.

    Raises FormatError for values that could not be read again.
    """
    default = Metadata()
    known = [key for key in A1111_KEYS if getattr(metadata, key) is not None]  # for None, A1111 has no default
    keys = known if metadata.keys is None else list(metadata.keys)
    for key in (*A1111_KEYS, *MONKEYPATCH_KEYS):
        if key not in keys and key not in metadata.extra and getattr(metadata, key) != getattr(default, key):
            keys.append(key)
    keys += [key for key in metadata.extra if key not in keys]
    values = {key: _raw(metadata.extra.get(key, getattr(metadata, str(key), _WRONG))) for key in keys}
    lost = set(values).difference(read_values(values).keys or ())
    if lost:
        raise FormatError(f"its metadata holds what no file can carry: {shown(min(lost))}.", "Leave it out.")
    return values


def activation_of(metadata: Metadata) -> str | None:
    """The activation a file names: one of `ACTIVATIONS`, 'prelu', 'linear', or None where it names none.

    Raises FormatError for one that no hypernetwork can be computed with.
    """
    if metadata.activation_func is None:
        return None
    name = metadata.activation_func.strip().lower()
    if name in UNUSABLE:
        raise FormatError(
            f"its activation is {name!r}, with which no WebUI could ever run a hypernetwork.", "It can't be used."
        )
    if name not in ACTIVATIONS and name not in (IDENTITY, LEARNED):
        raise FormatError(
            f"its activation is {shown(metadata.activation_func)}, which is not known.", "Check what it was made with."
        )
    return name


_KNOWN = frozenset(field.name for field in fields(Metadata)) - {"extra", "keys"}
_WRONG = object()


def _read(key: str, value: object) -> object:
    """The value in the type the field has, or `_WRONG`."""
    if key in TEXTS:
        return value if value is None else _text(value) if isinstance(value, str) else _WRONG
    if key in SWITCHES:
        return bool(value) if value is None or isinstance(value, (bool, int)) else _WRONG
    if key in SERIES:
        return None if value is None else _numbers(value)
    if key == "step":
        return value if value is None or (type(value) is int and abs(value) < 1 << 63) else _WRONG
    return value if value in (None, False, True, "Linear") else _WRONG  # upsample_linear


def _text(value: str) -> str:
    if len(value) > MAX_TEXT:
        raise FormatError(f"it holds a text of {len(value):,} characters, longer than any in a hypernetwork.")
    _refuse_control_characters(value)
    return value


def _refuse_control_characters(text: str) -> None:
    """They have no place in a name, and would command the terminal that shows it."""
    if not text.isprintable() and _CONTROL.search(text):
        raise FormatError(f"it holds a text with control characters: {shown(text)}.")


def _numbers(value: object) -> object:
    if not isinstance(value, (list, tuple)) or len(value) > 1000:
        return _WRONG
    if not all(isinstance(item, (int, float)) and abs(item) < 1 << 63 for item in value):
        return _WRONG
    return tuple(value)


def _plain(value: object, budget: Iterator[int], depth: int = 16) -> object:
    """Numbers, texts and lists or tables of them (as JSON has them), or `_WRONG` for all else.

    A list may hold itself, or the same list a thousand times over: what goes too deep or on for too long is refused.
    """
    if next(budget, None) is None or not depth:
        raise FormatError("its metadata is nested in a way that no hypernetwork's is.")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise FormatError("it holds a number with more digits than any in a hypernetwork.")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_plain(item, budget, depth - 1) for item in value]
        return _WRONG if _WRONG in items else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        table = {_text(key): _plain(item, budget, depth - 1) for key, item in value.items()}
        return _WRONG if _WRONG in table.values() else table
    return _WRONG


def _raw(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
