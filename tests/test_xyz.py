"""Axes of the X/Y/Z plot: how each value changes the tags in a prompt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hypernet.tags import parse
from hypernet.webui.axes import PREFIX, add_axes


class AxisOption:
    """As A1111 defines it."""

    def __init__(self, label: str, type: Any, apply: Any, choices: Any = None) -> None:
        self.label, self.apply, self.choices = label, apply, choices


@pytest.fixture
def axes() -> dict[str, AxisOption]:
    module = SimpleNamespace(AxisOption=AxisOption, axis_options=[AxisOption("Seed", int, None)])
    facts = {"ink": {"base": "SD1"}, "wash": {"base": "unknown"}, "torn": {"problem": "torn"}, "big": {"base": "SDXL"}}
    catalogue: Any = SimpleNamespace(
        entries=lambda: [SimpleNamespace(name=name) for name in facts], facts=lambda entry: facts[entry.name]
    )
    add_axes([module], catalogue, lambda: "SD1")
    add_axes([module], catalogue, lambda: "SD1")  # a second time adds nothing
    assert len({option.label for option in module.axis_options}) == len(module.axis_options)
    return {option.label.removeprefix(PREFIX): option for option in module.axis_options}


@pytest.mark.parametrize(
    ("axis", "value", "prompt", "changed"),
    [
        ("Network", "wash", "a <hypernet:ink:0.7:k=0.5> b", "a <hypernet:wash:0.7:k=0.5> b"),
        ("Network", "wash", "a <hypernet:ink><hypernet:old:1>", "a <hypernet:wash><hypernet:old:1>"),
        ("Network", "wash", "a cat", "a cat<hypernet:wash:1>"),
        ("Network", "None", "a cat<hypernet:ink:1>", "a cat"),
        ("Strength", "0.3", "<hypernet:ink:0.7:k=0.5>", "<hypernet:ink:0.3:k=0.5>"),
        ("Strength", "0@0,1@1", "<hypernet:ink>", "<hypernet:ink:0@0,1@1>"),
        ("K factor", "0", "<hypernet:ink:0.7:k=0.5>", "<hypernet:ink:0.7:k=0>"),
        ("V factor", "2", "<hypernet:ink:0.7>", "<hypernet:ink:0.7:v=2>"),
        ("Block weights", "MIDD", "<hypernet:ink:1>", "<hypernet:ink:1:lbw=MIDD>"),
        ("Start", "0.5", "<hypernet:ink:1>", "<hypernet:ink:1:start=0.5>"),
        ("Stop", "10", "<hypernet:ink:1><lora:x:1>", "<hypernet:ink:1:stop=10><lora:x:1>"),
    ],
)
def test_a_value_changes_the_tag(axes: dict[str, AxisOption], axis: str, value: str, prompt: str, changed: str) -> None:
    p = SimpleNamespace(prompt=prompt, hr_prompt=prompt)
    axes[axis].apply(p, value, [value])
    assert (p.prompt, p.hr_prompt) == (changed, changed)


def test_the_networks_to_choose_from_are_those_that_the_model_can_have(axes: dict[str, AxisOption]) -> None:
    assert axes["Network"].choices() == ["None", "ink", "wash"]


def test_an_axis_without_a_tag_to_change_says_so_below_the_picture(axes: dict[str, AxisOption]) -> None:
    p = SimpleNamespace(prompt="a cat", hr_prompt="")
    axes["Strength"].apply(p, "0.5", ["0.5"])
    (problem,) = parse(p.prompt).problems
    assert "name" in str(problem)


@pytest.mark.parametrize("order", [("Network", "Strength"), ("Strength", "Network")])
@pytest.mark.parametrize(("network", "tag"), [("ink", "<hypernet:ink:0.5>"), ("None", "")])
def test_two_axes_make_one_tag_or_none_in_whatever_order_they_come(
    axes: dict[str, AxisOption], order: tuple[str, str], network: str, tag: str
) -> None:
    p = SimpleNamespace(prompt="a cat", hr_prompt="a dog")
    for axis in order:
        axes[axis].apply(p, {"Network": network, "Strength": "0.5"}[axis], [])
    assert (p.prompt, p.hr_prompt) == (f"a cat{tag}", f"a dog{tag}")


def test_a_value_that_no_tag_takes_says_why_below_the_picture(axes: dict[str, AxisOption]) -> None:
    p = SimpleNamespace(prompt="<hypernet:ink:1>", hr_prompt="")
    axes["K factor"].apply(p, "much", ["much"])
    (problem,) = parse(p.prompt).problems
    assert "is not a number" in str(problem)
