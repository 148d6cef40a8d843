"""What javascript/ adds to a host's page, in a real browser: on a page with the elements that A1111's dialect has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "javascript" / "hypernetworks.js"
PAGE = """
<div id="txt2img_prompt"><label><textarea></textarea></label></div>
<div id="txt2img_hypernetworks_cards">
  <div class="card" data-name="ink" onclick="native.push('ink')">
    <div class="button-row"><div class="metadata-button" onclick="native.push('details')">i</div></div><span>ink</span>
  </div>
  <div class="card" data-name="styles/water" onclick="native.push('water')"><span>water</span></div>
</div>
<script>
  var native = [], after = [], opts = {extra_networks_add_text_separator: " ", keyedit_precision_extra: 0.05};
  function onAfterUiUpdate(callback) { after.push(callback); }
</script>
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.set_content(PAGE)
    page.add_script_tag(content=SCRIPT.read_text(encoding="utf-8"))
    page.evaluate("after.forEach((callback) => callback())")
    yield page
    page.close()
    assert not errors


def prompt(page: Any) -> Any:
    return page.locator("#txt2img_prompt textarea")


def card(page: Any, name: str = "ink") -> Any:
    return page.locator(f'[data-name="{name}"]')


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_card_is_reached_and_pressed_by_keyboard(page: Any, key: str) -> None:
    prompt(page).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.name") == "ink"
    page.keyboard.press(key)
    assert page.evaluate("native") == ["ink"]


def test_a_screen_reader_is_told_what_a_card_is_and_whether_it_is_in_the_prompt(page: Any) -> None:
    button = page.get_by_role("button", name="hypernetwork styles/water")
    assert button.get_attribute("aria-pressed") == "false"
    prompt(page).fill("a cat <hypernet:styles/water:0.5:lbw=MIDD>")
    assert button.get_attribute("aria-pressed") == "true"
    assert card(page).get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("tag", ["ink", "ink:1", "ink:-0.5", "ink:0@0,1@1", "ink:0.7:lbw=MIDD:stop=0.5", " ink :1"])
def test_a_click_takes_a_tag_away_however_it_is_written(page: Any, tag: str) -> None:
    prompt(page).fill(f"a cat <hypernet:{tag}> and <hypernet:inks:1>")
    card(page).click()
    assert prompt(page).input_value() == "a cat and <hypernet:inks:1>"
    assert page.evaluate("native") == []


def test_a_click_on_a_card_that_is_not_in_the_prompt_is_the_hosts(page: Any) -> None:
    prompt(page).fill("a cat <hypernet:styles/water:1>")
    card(page).click()
    assert page.evaluate("native") == ["ink"]


def test_a_cards_buttons_are_the_hosts(page: Any) -> None:
    prompt(page).fill("<hypernet:ink:1>")
    page.locator(".metadata-button").click()
    assert page.evaluate("native")[0] == "details"
    assert prompt(page).input_value() == "<hypernet:ink:1>"


@pytest.mark.parametrize(
    ("keys", "strength"), [("Control+ArrowUp", "0.75"), ("Control+ArrowDown", "0.65")], ids=["up", "down"]
)
def test_ctrl_and_arrows_change_the_strength_of_a_tag_with_options(page: Any, keys: str, strength: str) -> None:
    prompt(page).fill("a cat <hypernet:ink:0.7:lbw=MIDD:stop=10>, night")
    prompt(page).evaluate("element => element.setSelectionRange(12, 12)")
    page.keyboard.press(keys)
    assert prompt(page).input_value() == f"a cat <hypernet:ink:{strength}:lbw=MIDD:stop=10>, night"


@pytest.mark.parametrize("text", ["a cat <hypernet:ink:0.7>", "a cat <hypernet:ink:0@0,1@1:k=0>", "a cat (night:1.1) "])
def test_what_the_host_can_change_or_nobody_is_left_to_it(page: Any, text: str) -> None:
    prompt(page).fill(text)
    prompt(page).evaluate("element => element.setSelectionRange(10, 10)")
    page.keyboard.press("Control+ArrowUp")
    assert prompt(page).input_value() == text
