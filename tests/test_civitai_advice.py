"""What makers write -> recommended settings, and HTML -> text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("requests")

from hypernet.civitai.advice import MAX_TEXT, Advice, advice
from hypernet.civitai.html_text import plain


@pytest.mark.parametrize(
    ("text", "span", "best"),
    [
        ("0.55 to 1.0, .7 works well", (0.55, 1.0), 0.7),
        ("Hypernet Str. 0.55 to 1.0, .7 works well. Enjoy!", (0.55, 1.0), 0.7),
        ("Recommended strength: 0.6-0.8", (0.6, 0.8), None),
        ("Strength 0,5 or maybe up to 0,8 since it's really strong", (0.5, 0.8), None),
        ("Works best between 0.3 and 0.6", (0.3, 0.6), None),
        ("use it at .4~.6 weight", (0.4, 0.6), None),
        ("strength 60% – 80%", (0.6, 0.8), None),
        ("set hypernetwork strength to 0.9 at most, 0.5 is ideal", None, 0.5),
        ("Hypernetwork strength: 1", None, 1.0),
        ("weight of 0.7", None, 0.7),
        ("I recommend 0.75.", None, 0.75),
        ("0.8 strength", None, 0.8),
        ("Prompt: a castle <hypernet:water:0.85>, best quality", None, 0.85),
        ("clip skip 2, weight of 0.4 to .6", (0.4, 0.6), None),
        ("Denoising strength: 0.5. Hypernet strength: 0.7", None, 0.7),
    ],
)
def test_a_strength_is_found_where_it_stands(text: str, span: tuple[float, float] | None, best: float | None) -> None:
    said = advice(text)
    assert (said.range, said.strength) == (span, best)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Trained on 25 pictures, batch size 2, gradient 0.5",
        "Denoising strength: 0.5",
        "Hires upscale: 1.5, denoise 0.4-0.6",
        "Works with SD 1.4-1.5",
        "Version 1.0 to 1.5: better hands",
        "layer structure 1, 2, 1; learning rate 0.0005",
        "LoRA weight: 0.8",
        "(masterpiece:1.2), (best quality:1.4)",
        "CFG 1.5 to 2.0",
        "A file of 0.1 GB",
        "strength 20",
        "Clip skip: 1-2",
    ],
)
def test_another_number_is_not_taken_for_a_strength(text: str) -> None:
    said = advice(text)
    assert (said.range, said.strength) == (None, None)


@pytest.mark.parametrize(
    ("text", "sampler", "steps", "cfg"),
    [
        ("DPM++ SDE Karras, 15 steps, CFG 7", "DPM++ SDE Karras", 15, 7),
        ("Sampler: Euler a, Steps: 20~40, CFG scale 5-7.5", "Euler a", 30, 6),
        ("Steps: 20, Sampler: dpm++ 2m karras, CFG scale: 7, Seed: 1", "DPM++ 2M Karras", 20, 7),
        ("sampling steps 30; guidance scale of 8", "", 30, 8),
        ("euler ancestral with 28 sampling steps", "Euler a", 28, None),
        ("7 CFG and 25 steps of UniPC", "UniPC", 25, 7),
        ("cfg 7 15 steps", "", 15, 7),
        ("DPM ++ 2S a Karras", "DPM++ 2S a Karras", None, None),
        ("LMS Karras or DDIM", "LMS Karras", None, None),
        ("Avoid Euler\nDDIM works", "DDIM", None, None),
        ("Trained for 20000 steps", "", None, None),
        ("trained 500 steps", "", None, None),
        ("Hires steps: 10, Steps: 28", "", 28, None),
        ("saved every 100 steps", "", None, None),
        ("15k steps", "", None, None),
        ("CFG 700", "", None, None),
    ],
)
def test_sampler_steps_and_scale_are_found(text: str, sampler: str, steps: int | None, cfg: float | None) -> None:
    said = advice(text)
    assert (said.sampler, said.steps, said.cfg) == (sampler, steps, cfg)


def test_of_two_texts_the_first_counts() -> None:
    assert advice("strength 0.5", "strength 0.9, CFG 7") == Advice(strength=0.5, cfg=7)


@pytest.mark.parametrize(
    ("said", "preferred"),
    [
        (Advice(), None),
        (Advice(range=(0.5, 1.2)), None),
        (Advice(range=(0.3, 0.6)), 0.45),
        (Advice(range=(0.3, 0.6), strength=0.4), 0.4),
    ],
)
def test_the_strength_to_begin_with_lies_in_the_range(said: Advice, preferred: float | None) -> None:
    assert said.preferred == preferred


WORDS = st.sampled_from(
    (
        *("strength", "weight", "hypernet", "cfg", "steps", "sampler", "euler", "a", "karras", "works", "well"),
        *("to", "-", "0.5", ".7", "0,8", "15", "7", "1.0", ",", ".", ";", "%", "~", "(", ":", "\n"),
    )
)


@given(text=st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=300))
def test_any_text_is_read_and_what_is_found_is_possible(text: str) -> None:
    said = advice(text)
    assert said.range is None or 0 < said.range[0] < said.range[1] <= 2
    assert said.strength is None or 0 < said.strength <= 2
    assert said.steps is None or 1 <= said.steps <= 150
    assert said.cfg is None or 1 <= said.cfg <= 30


SLOW = ("0.5 to ", "strength ", "9", "steps: ", "<hypernet:", "dpm ++ ", ", ", "(", "\n0", " ", "0.1-0.2,", "a:", r"\d")


@pytest.mark.parametrize("piece", SLOW)
def test_a_text_made_to_take_long_is_read_all_the_same(piece: str) -> None:
    advice(piece * (2 * MAX_TEXT // len(piece)))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two &amp; <b>three</b></p>", "One\n\nTwo & three"),
        ("<ul><li>DPM++</li><li>15 steps</li></ul>", "- DPM++\n- 15 steps"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<script>alert(1)</script><style>x{}</style>safe", "safe"),
        ("<img src=x onerror=alert(1)>x", "x"),
        ("<a href='javascript:alert(1)'>link</a>", "link"),
        ("&lt;b&gt; stays text", "<b> stays text"),
        ("a\u202eb\x00c\x1b[31m", "a b c [31m"),
        ("plain 0.5 < 0.7 text", "plain 0.5 < 0.7 text"),
        ("<p>open <b>never closed", "open never closed"),
        ("\ud800", "?"),
        ("a<!-- hidden -->b<!doctype html>c<?xml?>d", "abcd"),
        ("<SCRIPT>alert(1)</ScRiPt >shown", "shown"),
        ("shown<script>alert(1)", "shown"),
        ("1 < 2 <3 <> x", "1 < 2 <3 <> x"),
    ],
)
def test_html_becomes_plain_text(html: str, text: str) -> None:
    assert plain(html) == text


@given(html=st.text(alphabet=st.sampled_from("<>/&;!-[]abps ='\"\n\x00"), max_size=200))
def test_any_html_is_read(html: str) -> None:
    assert all(char == "\n" or char.isprintable() for char in plain(html))


@pytest.mark.parametrize("piece", ["<div>", "<", "&#", "<!--", "<script>", "<p", "&lt;", "<svg", "</", "<!", "İ<"])
def test_html_made_to_take_long_is_read_all_the_same(piece: str) -> None:
    plain(piece * 200_000)
