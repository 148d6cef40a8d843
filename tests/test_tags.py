"""What may be typed in a prompt, and what is said about what may not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernet.schedule import Moment
from hypernet.tags import BadTag, Tag, parse, parse_items


def tag(text: str) -> Tag:
    parsed = parse(text)
    assert not parsed.problems, parsed.problems
    (found,) = parsed.tags
    return found


def reason(text: str) -> str:
    parsed = parse(text)
    assert not parsed.tags
    (problem,) = parsed.problems
    return problem.reason


def strength(tag: Tag, **moment: object) -> float:
    return tag.course.at(Moment(**moment))  # type: ignore[arg-type]


def test_a_tag_is_taken_out_of_the_prompt() -> None:
    assert parse("a cat <hypernet:ink:0.7>, sitting").text == "a cat , sitting"


def test_tags_come_in_prompt_order() -> None:
    assert [tag.name for tag in parse("<hypernet:b> x <hypernet:a> <hypernet:b:2>").tags] == ["b", "a", "b"]


def test_other_tags_and_brackets_stay() -> None:
    text = "a <lora:x:1> (cat:1.2) [dog|fox] <3 >"
    assert parse(text).text == text


def test_a_bare_strength_is_one() -> None:
    assert strength(tag("<hypernet:ink>")) == 1.0


@pytest.mark.parametrize(("text", "value"), [("0.7", 0.7), ("-0.5", -0.5), ("+2", 2.0), (".5", 0.5), ("1e-1", 0.1)])
def test_strengths(text: str, value: float) -> None:
    assert strength(tag(f"<hypernet:ink:{text}>")) == value


def test_names_keep_their_folder_spaces_and_dots() -> None:
    assert tag("<hypernet:sub/my net v1.2:1>").name == "sub/my net v1.2"


def test_the_text_as_typed_stays_with_the_tag() -> None:
    assert tag("<hypernet:ink:0.7:k=0.5>").text == "<hypernet:ink:0.7:k=0.5>"


def test_every_option() -> None:
    found = tag("<hypernet:ink:0.7:k=.5:v=2:self=0:cross=-1:lbw=midd:on=UNCOND:start=0.2:stop=15:hr=0.3>")
    assert (found.k, found.v, found.self_attention, found.cross_attention) == (0.5, 2, 0, -1)
    assert (found.blocks, found.on) == ("MIDD", "uncond")
    assert (found.course.start, found.course.stop) == (0.2, 15)
    assert strength(found, hires=True, step=9, steps=20) == 0.3


def test_options_without_a_strength() -> None:
    assert strength(tag("<hypernet:ink:k=0.5>")) == 1.0


def test_block_weights_are_numbers_between_commas() -> None:
    assert tag("<hypernet:ink:1:lbw=1,0,0.5,-1>").blocks == (1, 0, 0.5, -1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<hypernet:>", "names no file"),
        ("<hypernet: :1>", "names no file"),
        ("<hypernet:ink:abc>", "“abc” is not a number"),
        ("<hypernet:ink:>", "“” is not a number"),
        ("<hypernet:ink:0,7>", "decimal point"),
        ("<hypernet:ink:nan>", "not a number"),
        ("<hypernet:ink:inf>", "not a number"),
        ("<hypernet:ink:1e999>", "too large"),
        ("<hypernet:ink:1_0>", "not a number"),
        ("<hypernet:ink:٣>", "not a number"),
        ("<hypernet:ink:1:2>", "second strength"),
        ("<hypernet:ink:1:te=1>", "no option “te”"),
        ("<hypernet:ink:1:k=1:k=2>", "twice"),
        ("<hypernet:ink:1:k=>", "not a number"),
        ("<hypernet:ink:0@0,1>", "no position"),
        ("<hypernet:ink:0@0,x@1>", "not a number"),
        ("<hypernet:ink:0@-1,1@1>", "before the run"),
        ("<hypernet:ink:1:on=left>", "on=cond"),
        ("<hypernet:ink:1:lbw=1,a>", "not a number"),
        ("<hypernet:ink:1:lbw=>", "not a number"),
    ],
)
def test_a_bad_tag_says_why(text: str, said: str) -> None:
    assert said in reason(text)


def test_one_bad_tag_leaves_the_others() -> None:
    parsed = parse("<hypernet:a:abc><hypernet:b:0.5>")
    assert [tag.name for tag in parsed.tags] == ["b"]
    assert str(parsed.problems[0]).startswith("<hypernet:a:abc>: ")


def test_messages_carry_no_control_characters_and_no_book() -> None:
    said = str(parse("<hypernet:a\x1b[31m:" + "x" * 10_000 + ">").problems[0])
    assert "\x1b" not in said
    assert len(said) < 500


@given(st.text())
def test_nothing_typed_raises(text: str) -> None:
    parse(text)
    parse(f"<hypernet:{text}>")


@given(st.lists(st.text(alphabet="ab01.,@=:-eknv ", max_size=12), max_size=6))
def test_parts_as_a_host_hands_them_over_never_raise(items: list[str]) -> None:
    found = parse_items(items)
    assert isinstance(found, (Tag, BadTag))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_number_is_a_strength(value: float) -> None:
    assert strength(tag(f"<hypernet:ink:{value!r}>")) == value


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(0, 1)), min_size=1, max_size=5), st.integers(1, 50), st.data())
def test_a_schedule_stays_between_its_values(
    points: list[tuple[float, float]], steps: int, data: st.DataObject
) -> None:
    text = ",".join(f"{value!r}@{position!r}" for value, position in points)
    value = strength(tag(f"<hypernet:ink:{text}>"), step=data.draw(st.integers(0, steps - 1)), steps=steps)
    assert min(v for v, _ in points) - 1e-9 <= value <= max(v for v, _ in points) + 1e-9
    assert math.isfinite(value)
