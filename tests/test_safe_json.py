"""JSON from strangers: what would hold up the parser is refused before it is parsed."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernet import safe_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(VALUES)
def test_json_of_a_usual_size_is_read(value: object) -> None:
    import json

    assert safe_json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 5, "[1", "", "nonsense", "[" + "[],[]," * 500_000 + "1]"])
def test_what_can_not_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        safe_json.loads(text)


def test_only_so_many_values_are_read() -> None:
    assert safe_json.loads("[1,2,3]", most=3) == [1, 2, 3]
    with pytest.raises(ValueError, match="far too many"):
        safe_json.loads("[1,2,3,4]", most=3)


def test_a_long_number_is_refused_by_a_python_that_would_read_it_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "set_int_max_str_digits")
    with pytest.raises(ValueError, match="too many digits"):
        safe_json.loads('{"a": ' + "9" * 100 + "}")
