"""A short fuzzing run: good and hostile inputs, damaged at random. run.py starts long ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

CRASHES = Path(__file__).parent / "crashes"


@lru_cache
def inputs(target: str) -> tuple[bytes, ...]:
    return tuple(seed for seed in seeds(target) if len(seed) <= 4096)


@st.composite
def damaged(draw: st.DrawFn, target: str) -> bytes:
    """A seed in which some runs of bytes were replaced, taken out, repeated or taken from another seed."""
    data = draw(st.sampled_from(inputs(target)))
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        other = draw(st.sampled_from(inputs(target)))
        at = draw(st.integers(0, len(other)))
        new = draw(
            st.binary(max_size=12)
            | st.sampled_from((b"", data[start : start + length] * 2, b"\xff" * length, other[at : at + 4 * length]))
        )
        data = data[:start] + new + data[start + length :]
    if draw(st.integers(0, 9)) == 0:  # what is slow is slow on long inputs only
        start = draw(st.integers(0, len(data)))
        piece = data[start : start + draw(st.integers(1, 12))]
        data = data[:start] + piece * (50_000 // max(len(piece), 1)) + data[start:]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input_breaks_no_promise(target: str) -> None:
    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged(target))
    def run(data: bytes) -> None:
        TARGETS[target](data)

    run()


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_break_no_promise(target: str) -> None:
    assert inputs(target)
    for seed in inputs(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("crash", sorted(CRASHES.glob("*-*")), ids=lambda path: path.name)
def test_what_a_fuzzer_found_once_breaks_no_promise(crash: Path) -> None:
    TARGETS[crash.name.split("-")[0]](crash.read_bytes())
