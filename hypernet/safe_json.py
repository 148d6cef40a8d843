"""JSON from strangers: texts that would take the parser too much time, depth or memory are refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

MAX_VALUES = 200_000
"""Values in one text, counted by brackets and commas. The largest side files have some ten thousand."""
_LONGEST_INT = 18  # digits


def loads(
    text: str, *, most: int = MAX_VALUES, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """`json.loads` for at most `most` values. Raises ValueError for every text that it can't read, however deep.

    pairs_hook: `object_pairs_hook` of `json.loads`; what it raises passes through.
    """
    if text.count("[") + text.count("{") + text.count(",") > most:
        raise ValueError("it holds far too many values")
    # Before 3.10.7 Python needs minutes for a number of a million digits.
    parse_int = None if hasattr(sys, "set_int_max_str_digits") else _short_int
    try:
        return json.loads(text, parse_int=parse_int, object_pairs_hook=pairs_hook)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _short_int(digits: str) -> int:
    if len(digits) > _LONGEST_INT:
        raise ValueError("a number has too many digits")
    return int(digits)
