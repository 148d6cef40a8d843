"""What can be typed in a prompt, and the messages about what can't."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernet.errors import HypernetError
from hypernet.network import Network
from hypernet.plan import open_tags
from hypernet.schedule import Moment
from hypernet.tags import MAX_FACTOR, MAX_TAGS, OPTIONS, TAG_PATTERN, BadTag, Tag, parse, parse_items


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


SHARED = json.loads((Path(__file__).parent / "data" / "tags.json").read_text(encoding="utf-8"))
"""What the browser's half must read in the same way: see test_javascript.py."""
_FIELDS = {"self": "self_attention", "cross": "cross_attention"}


@pytest.mark.parametrize("case", SHARED["prompts"], ids=lambda case: case["prompt"])
def test_the_cases_shared_with_the_browsers_half(case: dict[str, Any]) -> None:
    parsed = parse(case["prompt"])
    assert not parsed.problems
    assert [(tag.text, tag.name) for tag in parsed.tags] == [(tag["text"], tag["name"]) for tag in case["tags"]]
    for found, wanted in zip(parsed.tags, case["tags"], strict=True):
        if "@" not in wanted["strength"]:
            assert strength(found) == float(wanted["strength"] or 1)
        for key, value in wanted["options"]:
            place = found.course if key in ("start", "stop") else found
            assert getattr(place, _FIELDS.get(key, key)) == float(value)


@pytest.mark.parametrize(("text", "value"), SHARED["numbers"].items())
def test_the_numbers_shared_with_the_browsers_half(text: str, value: float | None) -> None:
    parsed = parse(f"<hypernet:ink:{text}>")
    if value is None:
        assert not parsed.tags
    else:
        assert strength(parsed.tags[0]) == value


@pytest.mark.parametrize(("text", "points"), SHARED["schedules"].items())
def test_the_schedules_shared_with_the_browsers_half(text: str, points: list[list[float]] | None) -> None:
    parsed = parse(f"<hypernet:ink:{text}>")
    if points is None:
        assert not parsed.tags
    else:
        (found,) = parsed.tags
        for value, position in points:
            step = int(position if position > 1 else position * 20)
            assert strength(found, step=step, steps=20) == pytest.approx(value)


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
        ("<hypernet:ink:1:te=1>", "no option “te”"),
        ("<hypernet:ink:1:k=1:k=2>", "twice"),
        ("<hypernet:ink:1:k=>", "not a number"),
        ("<hypernet:ink:0@0,1>", "no position"),
        ("<hypernet:ink:0@0,x@1>", "not a number"),
        ("<hypernet:ink:0@-1,1@1>", "before the run"),
        ("<hypernet:ink:1:on=left>", "on=cond"),
        ("<hypernet:ink:1:lbw=1,a>", "not a number"),
        ("<hypernet:ink:1:lbw=>", "not a number"),
        ("<hypernet:ink:1e30>", "the most is 100"),
        ("<hypernet:ink:-1e9>", "the most is 100"),
        ("<hypernet:ink:0@0,1e9@1>", "the most is 100"),
        ("<hypernet:ink:1:hr=1e9>", "the most is 100"),
        ("<hypernet:ink:1:k=1e9>", "the most is 100"),
        ("<hypernet:ink:1:lbw=1,1e9>", "the most is 100"),
        ("<hypernet:a:b:1>", "For a colon in a file's name, write _"),
        ("<hypernet:ink:" + "1@0," * 1000 + "1@1>", "the strength schedule has 1,001 values"),
        ("<hypernet:ink:lbw=" + "1," * 1000 + "1>", "lbw has 1,001 values"),
    ],
)
def test_a_bad_tag_says_why(text: str, said: str) -> None:
    assert said in reason(text)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("<hypernet:ink:0.6:>", "colon too many"),
        ("<hypernet:ink:0.6:0.8>", "second strength, “0.8”, was passed over"),
        ("<hypernet:ink:0.6:x>", "“x”, was passed over"),
        ("<hypernet:ink:0.6:INALL:OUTALL>", "“OUTALL”, was passed over"),
    ],
)
def test_what_stands_behind_the_strength_is_passed_over_as_by_the_hosts_own_and_told(text: str, note: str) -> None:
    found = tag(text)
    assert strength(found) == 0.6
    (told,) = found.notes
    assert text in told and note in told


@pytest.mark.parametrize(("text", "blocks"), [("outall", "OUTALL"), ("1,0,0.5", (1, 0, 0.5))])
def test_block_weights_may_stand_third_without_a_name(text: str, blocks: object) -> None:
    found = tag(f"<hypernet:ink:0.6:{text}>")
    assert (strength(found), found.blocks, found.notes) == (0.6, blocks, ())


def test_a_tag_in_capitals_is_a_tag_and_told_as_typed() -> None:
    assert tag("<HYPERNET:ink:0.6>").text == "<HYPERNET:ink:0.6>"
    assert str(parse("<HYPERNET:ink:abc>").problems[0]).startswith("<HYPERNET:ink:abc>")


@pytest.mark.parametrize("key", OPTIONS)
def test_each_option_reads_its_example_and_its_choices(key: str) -> None:
    for value in (OPTIONS[key].example, *OPTIONS[key].choices):
        assert tag(f"<hypernet:ink:1:{key}={value}>") != tag("<hypernet:ink:1>") or value == "ALL"


def test_only_so_many_tags_count_and_the_rest_is_told() -> None:
    def missing(name: str) -> Network:
        raise HypernetError(name)

    tags = parse("".join(f"<hypernet:{number}>" for number in range(MAX_TAGS + 20))).tags
    _, notes = open_tags(tags, missing)
    assert notes == ("There are 120 hypernetwork tags: only the first 100 count.", *map(str, range(MAX_TAGS)))


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("a cat <hypernet:ink:0.7", "“<hypernet:ink:0.7” has no > at its end"),
        ("<hypernet:ink <hypernet:water>", "“<hypernet:ink ” has no > at its end"),
        ("<hypernetwork:ink:0.7>", "write <hypernet:ink:0.7>"),
        ("<hyper-nets: ink>", "write <hypernet:ink>"),
        (
            "[<hypernet:a:1>:<hypernet:b>:0.5]",
            "act all the time: write <hypernet:a:1:stop=0.5> <hypernet:b:start=0.5> instead",
        ),
        ("[cat, <hypernet:a:1>::10]", "write <hypernet:a:1:stop=10> instead"),
        ("([x [cat <hypernet:a:1>:10]:0.5])", "write <hypernet:a:1:start=10> instead"),
        ("[<hypernet:a:1>|dog]", "act all the time: start= and stop="),
        ("[<hypernet:a:1>:dog:(cat)]", "act all the time: start= and stop="),
    ],
)
def test_what_looks_like_a_tag_and_is_not_is_told(prompt: str, note: str) -> None:
    (told,) = parse(prompt).notes
    assert note in told


@pytest.mark.parametrize(
    "prompt",
    [
        "[cat:dog:0.5] <hypernet:ink:0.7> [a|b]",
        "[a [b] <hypernet:ink>]",
        "\\[<hypernet:ink>:x:0.5]",
        "] : <hypernet:ink> [",
    ],
)
def test_what_is_in_order_is_not_told(prompt: str) -> None:
    assert parse(prompt).notes == ()


def test_a_tag_never_reaches_into_the_next() -> None:
    assert [found.name for found in parse("<hypernet:a <hypernet:b:1>").tags] == ["b"]
    assert TAG_PATTERN.sub("", "<hypernet:a <hypernet:b:1>") == "<hypernet:a "


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


@given(st.floats(-MAX_FACTOR, MAX_FACTOR))
def test_any_number_within_reason_is_a_strength(value: float) -> None:
    assert strength(tag(f"<hypernet:ink:{value!r}>")) == value


@given(st.floats(MAX_FACTOR, exclude_min=True, allow_infinity=False), st.sampled_from([1, -1]))
def test_a_number_beyond_reason_is_refused(value: float, sign: int) -> None:
    assert "too large" in reason(f"<hypernet:ink:{sign * value!r}>")


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(0, 1)), min_size=1, max_size=5), st.integers(1, 50), st.data())
def test_a_schedule_stays_between_its_values(
    points: list[tuple[float, float]], steps: int, data: st.DataObject
) -> None:
    text = ",".join(f"{value!r}@{position!r}" for value, position in points)
    value = strength(tag(f"<hypernet:ink:{text}>"), step=data.draw(st.integers(0, steps - 1)), steps=steps)
    assert min(v for v, _ in points) - 1e-9 <= value <= max(v for v, _ in points) + 1e-9
    assert math.isfinite(value)


def test_a_tag_of_thousands_of_parts_is_refused_with_their_number() -> None:
    assert "200,000 parts" in reason("<hypernet:ink" + ":1" * 200_000 + ">")
