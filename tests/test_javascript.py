"""What javascript/ adds to a page, in a real browser: on pages with the elements that the hosts' dialects have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "javascript").glob("*.js"))
SHARED = json.loads((ROOT / "tests" / "data" / "tags.json").read_text(encoding="utf-8"))
"""How tags are read: test_tags.py holds the server's half to the same."""
TYPES = {".js": "text/javascript", ".css": "text/css"}

NETWORKS = [
    {
        "name": "ink",
        "base": "SD1",
        "fits": True,
        "problem": None,
        "words": ["inky lines", "smudge"],
        "negative": "clean",
        "strength": 0.7,
        "range": [0.55, 1.0],
        "preview": None,
        "known": True,
        "steps": 20000,
        "free": True,
        "size": 88_000_000,
        "tags": ["sumi-e"],
        "notes": "",
        "favourite": False,
    },
    {
        "name": "styles/water",
        "base": "SD1",
        "fits": True,
        "problem": None,
        "words": [],
        "negative": "",
        "strength": 1.0,
        "range": None,
        "preview": None,
        "known": True,
        "steps": 20000,
        "free": True,
        "size": 88_000_000,
        "tags": ["sumi-e"],
        "notes": "",
        "favourite": False,
    },
    {
        "name": "broken",
        "base": "unknown",
        "fits": None,
        "problem": "broken.pt: it is damaged.",
        "words": [],
        "negative": "",
        "strength": 1.0,
        "range": None,
        "preview": None,
        "known": True,
        "steps": 20000,
        "free": True,
        "size": 88_000_000,
        "tags": ["sumi-e"],
        "notes": "",
        "favourite": False,
        "used": 0,
    },
    {
        "name": "xl",
        "base": "SDXL",
        "fits": False,
        "problem": None,
        "words": [],
        "negative": "",
        "strength": 1.0,
        "range": None,
        "preview": None,
        "known": True,
        "steps": 20000,
        "free": True,
        "size": 88_000_000,
        "tags": ["sumi-e"],
        "notes": "",
        "favourite": False,
    },
]

CARDS = "".join(
    f"""<div class="card" {{name}}="{each["name"]}" onclick="native.push('{each["name"]}')">
      <div class="button-row"><div class="metadata-button" onclick="native.push('details')">i</div>
      <div class="edit-button" onclick="native.push('edit'); event.stopPropagation()">e</div></div>
      <span class="name">{each["name"]}</span></div>"""
    for each in NETWORKS
)
"""As both families have them; where the name stands differs."""

PAGE = """
<!doctype html><meta charset="utf-8">
SCRIPTS
<style>body {font: 16px sans-serif} .card {display: inline-block; position: relative; width: 120px; height: 90px}
textarea {width: 500px; height: 80px}</style>
<div id="txt2img_prompt"><label><textarea></textarea></label></div>
<div id="txt2img_neg_prompt"><label><textarea></textarea></label></div>
<div id="txt2img_CONTAINER" class="extra-network-cards">CARDS</div>
<script>
  var native = [], after = [], opts = {extra_networks_add_text_separator: " ", keyedit_precision_extra: 0.05};
  function onAfterUiUpdate(callback) { after.push(callback); }
</script>
"""
PAGES = {
    "A1111's family": PAGE.replace("CARDS", CARDS.format(name="data-name")).replace("CONTAINER", "hypernetworks_cards"),
    "SD.Next": PAGE.replace("CARDS", CARDS.format(name="data-short")).replace("CONTAINER", "hypernetwork_cards"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: Any, html: str, networks: list[dict[str, Any]]) -> Any:
    """A page with our scripts whose server knows these networks."""
    page = browser.new_page()
    page.set_default_timeout(8000)
    page.on("pageerror", lambda error: errors.append(error))
    errors: list[Any] = []
    page.failures = errors

    tags = '<link rel="stylesheet" href="style.css">' + "".join(
        f'<script src="javascript/{script.name}"></script>' for script in SCRIPTS
    )

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix("http://host/")
        if path == "":
            route.fulfill(body=html.replace("SCRIPTS", tags), content_type="text/html")
        elif (file := ROOT / path).suffix in (".js", ".css"):
            route.fulfill(body=file.read_text(encoding="utf-8"), content_type=TYPES[file.suffix])
        elif path == "hypernet/v1/cards":
            route.fulfill(body=json.dumps(networks), content_type="application/json", headers={"ETag": '"1"'})
        elif path == "hypernet/v1/check":
            route.fulfill(body=json.dumps(checked(route.request.post_data_json["prompt"])), status=200)
        elif path == "hypernet/v1/favourite":
            route.fulfill(body="{}", status=200)
        else:
            route.fulfill(status=404, body="{}")

    page.route("**/*", answer)
    page.goto("http://host/")
    page.evaluate("after.forEach((callback) => callback())")
    if networks:
        page.wait_for_function("hypernet.catalogue.all().length > 0")
    return page


def checked(prompt: str) -> list[dict[str, Any]]:
    """What the server says of `<hypernet:inc:1>`."""
    start = prompt.find("<hypernet:inc:1>")
    if start < 0:
        return []
    return [
        {
            "start": start,
            "end": start + 16,
            "text": "<hypernet:inc:1>",
            "reason": "There is no hypernetwork “inc”.",
            "suggestions": [{"label": "ink", "text": "<hypernet:ink:1>"}],
        }
    ]


@pytest.fixture(params=list(PAGES))
def page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    page = opened(browser, PAGES[request.param], NETWORKS)
    yield page
    page.close()
    assert not page.failures


@pytest.fixture
def page_without_list(browser: Any) -> Iterator[Any]:
    page = opened(browser, PAGES["A1111's family"], [])
    yield page
    page.close()
    assert not page.failures


def prompt(page: Any) -> Any:
    return page.locator("#txt2img_prompt textarea")


def negative(page: Any) -> Any:
    return page.locator("#txt2img_neg_prompt textarea")


def card(page: Any, name: str = "ink") -> Any:
    return page.locator(f'[data-name="{name}"], [data-short="{name}"]')


def write(page: Any, text: str, at: int) -> None:
    """A prompt with the caret in it."""
    prompt(page).fill(text)
    prompt(page).evaluate("(element, at) => element.setSelectionRange(at, at)", at)


# A click


def test_a_click_puts_the_tag_with_its_strength_and_words_into_the_prompt(page: Any) -> None:
    prompt(page).fill("a cat")
    card(page).click()
    assert prompt(page).input_value() == "a cat <hypernet:ink:0.7> inky lines, smudge"
    assert negative(page).input_value() == "clean"
    assert page.evaluate("native") == []


def test_it_goes_where_the_caret_was_last(page: Any) -> None:
    write(page, "a cat, at night", 5)
    page.keyboard.press("Shift+F10")  # any key: the caret is noticed
    card(page).click(modifiers=["Shift"])
    assert prompt(page).input_value() == "a cat <hypernet:ink:0.7>, at night"


def test_the_second_click_takes_all_of_it_away_whatever_was_edited_meanwhile(page: Any) -> None:
    prompt(page).fill("a cat")
    negative(page).fill("ugly")
    card(page).click()
    assert negative(page).input_value() == "ugly, clean"
    text = prompt(page).input_value().replace("ink:0.7", "ink:0.3:k=0").replace("a cat", "two cats") + ", at night"
    prompt(page).fill(text)
    card(page).click()
    assert prompt(page).input_value() == "two cats, at night"
    assert negative(page).input_value() == "ugly"


def test_an_edit_is_one_step_of_undo(page: Any) -> None:
    prompt(page).focus()
    page.keyboard.type("a cat")
    card(page).click()
    assert "<hypernet:ink:0.7>" in prompt(page).input_value()
    prompt(page).focus()
    page.keyboard.press("Control+z")
    assert prompt(page).input_value() == "a cat"
    page.keyboard.press("Control+Shift+z")
    assert "<hypernet:ink:0.7>" in prompt(page).input_value()


@pytest.mark.parametrize(
    ("modifier", "text"),
    [
        ("Shift", "a cat <hypernet:styles/water:1> <hypernet:ink:0.7>"),
        ("Alt", "a cat <hypernet:styles/water:1> <hypernet:ink:0.35> inky lines, smudge"),
        ("Control", "a cat <hypernet:ink:0.7> inky lines, smudge"),
    ],
    ids=["without words", "half strength", "in place of the others"],
)
def test_keys_held_at_the_click_change_what_it_adds(page: Any, modifier: str, text: str) -> None:
    prompt(page).fill("a cat <hypernet:styles/water:1>")
    card(page).click(modifiers=[modifier])
    assert prompt(page).input_value() == text


@pytest.mark.parametrize("tag", ["ink", "ink:1", "ink:-0.5", "ink:0@0,1@1", "ink:0.7:lbw=MIDD:stop=0.5", " ink :1"])
def test_a_click_takes_a_tag_away_however_it_is_written(page: Any, tag: str) -> None:
    prompt(page).fill(f"a cat <hypernet:{tag}> and <hypernet:inks:1>")
    card(page).click()
    assert prompt(page).input_value() == "a cat and <hypernet:inks:1>"
    assert page.evaluate("native") == []


def test_without_the_list_a_click_is_the_hosts(page_without_list: Any) -> None:
    prompt(page_without_list).fill("a cat <hypernet:styles/water:1>")
    card(page_without_list).click()
    assert page_without_list.evaluate("native") == ["ink"]


def test_a_cards_buttons_are_the_hosts(page: Any) -> None:
    prompt(page).fill("<hypernet:ink:1>")
    card(page).locator(".metadata-button").click()
    assert page.evaluate("native")[0] == "details"
    assert prompt(page).input_value() == "<hypernet:ink:1>"


def test_a_card_is_dragged_to_a_place_in_the_prompt(page: Any) -> None:
    prompt(page).fill("a cat at night")
    card(page).drag_to(prompt(page), target_position={"x": 400, "y": 40})
    assert "<hypernet:ink:0.7> inky lines, smudge" in prompt(page).input_value()


# The keyboard and the screen reader


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_card_is_reached_and_pressed_by_keyboard(page: Any, key: str) -> None:
    page.locator(".hypernet-shelf input").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("hypernet.dialect.nameOf(document.activeElement)") == "ink"
    page.keyboard.press(key)
    assert "<hypernet:ink:0.7>" in prompt(page).input_value()
    assert page.evaluate("hypernet.dialect.nameOf(document.activeElement)") == "ink"


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["ArrowRight"], "styles/water"),
        (["End"], "xl"),
        (["End", "ArrowLeft"], "broken"),
        (["End", "Home"], "ink"),
        (["w"], "styles/water"),
        (["b", "r"], "broken"),
    ],
)
def test_arrows_and_letters_move_between_cards(page: Any, keys: list[str], name: str) -> None:
    page.locator(".hypernet-shelf input").last.focus()
    page.keyboard.press("Tab")
    for key in keys:
        page.keyboard.press(key)
    assert page.evaluate("hypernet.dialect.nameOf(document.activeElement)") == name
    assert page.locator('.card[tabindex="0"]').count() == 1


def test_f2_opens_the_hosts_editor(browser: Any) -> None:
    page = opened(browser, PAGES["A1111's family"], NETWORKS)
    card(page).focus()
    page.keyboard.press("F2")
    assert page.evaluate("native") == ["edit"]
    page.close()


def test_a_screen_reader_is_told_what_a_card_is_and_whether_it_is_in_the_prompt(page: Any) -> None:
    assert card(page, "styles/water").get_attribute("aria-label") == "styles/water, SD1"
    assert card(page, "styles/water").get_attribute("aria-pressed") == "false"
    prompt(page).fill("a cat <hypernet:styles/water:0.5:lbw=MIDD>")
    assert card(page, "styles/water").get_attribute("aria-pressed") == "true"
    assert card(page, "styles/water").get_attribute("aria-label") == "styles/water, SD1, in the prompt"
    assert card(page).get_attribute("aria-pressed") == "false"


def test_broken_files_and_those_for_other_models_are_marked(page: Any) -> None:
    assert "hypernet-broken" in card(page, "broken").get_attribute("class")
    assert "hypernet-other-base" in card(page, "xl").get_attribute("class")
    assert "hypernet-other-base" not in card(page).get_attribute("class")


def test_a_card_says_what_its_file_is_in_words(page: Any) -> None:
    assert card(page).locator(".hypernet-facts").inner_text() == "SD1 · trained 20,000 steps · costs nothing · 84 MB"
    assert card(page, "broken").locator(".hypernet-facts").inner_text() == "broken.pt: it is damaged."


# The shelf, and a card's menu


def order(page: Any) -> list[str]:
    """Names as the eye reads them."""
    return page.evaluate(
        """() => Array.from(document.querySelectorAll(".card")).filter((card) => card.offsetParent)
        .sort((a, b) => a.offsetTop - b.offsetTop || a.offsetLeft - b.offsetLeft).map(hypernet.dialect.nameOf)"""
    )


def test_those_in_the_prompt_come_first_then_favourites_then_recent_ones(browser: Any) -> None:
    kept = {"styles/water": {"used": 5.0}, "broken": {"favourite": True}}
    networks = [{**network, **kept.get(network["name"], {})} for network in NETWORKS]
    page = opened(browser, PAGES["A1111's family"], networks)
    assert order(page) == ["broken", "styles/water", "ink", "xl"]
    card(page, "xl").click()
    assert order(page) == ["broken", "styles/water", "ink", "xl"]  # nothing moves under the pointer
    prompt(page).hover()
    assert order(page) == ["xl", "broken", "styles/water", "ink"]
    page.get_by_label("Favourites and recent ones first").uncheck()
    assert order(page) == ["ink", "styles/water", "broken", "xl"]
    page.close()


def test_files_for_other_models_are_hidden_where_that_is_wished_and_the_browser_remembers(page: Any) -> None:
    page.get_by_label("Hide files made for other models").check()
    assert "xl" not in order(page)
    page.reload()
    page.evaluate("after.forEach((callback) => callback())")
    page.wait_for_function("document.querySelector('.hypernet-other-base')")
    assert page.get_by_label("Hide files made for other models").is_checked()
    assert "xl" not in order(page)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("Put into the prompt", "a cat <hypernet:styles/water:1> <hypernet:ink:0.7> inky lines, smudge"),
        ("Put in without its words", "a cat <hypernet:styles/water:1> <hypernet:ink:0.7>"),
        ("Put in at half strength", "a cat <hypernet:styles/water:1> <hypernet:ink:0.35> inky lines, smudge"),
        ("Put in instead of the others", "a cat <hypernet:ink:0.7> inky lines, smudge"),
    ],
)
@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_cards_menu_does_what_keys_at_a_click_do(page: Any, by: str, item: str, text: str) -> None:
    prompt(page).fill("a cat <hypernet:styles/water:1>")
    if by == "mouse":
        card(page).click(button="right")
        page.get_by_role("menuitem", name=item, exact=True).click()
    else:
        card(page).focus()
        page.keyboard.press("ContextMenu")
        while page.evaluate("document.activeElement.textContent") != item:
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    assert prompt(page).input_value() == text
    assert not page.get_by_role("menu").is_visible()
    assert page.evaluate("hypernet.dialect.nameOf(document.activeElement)") == "ink"


def test_a_favourite_is_made_in_the_menu(page: Any) -> None:
    with page.expect_request("**/hypernet/v1/favourite") as asked:
        card(page).click(button="right")
        page.get_by_role("menuitem", name="Favourite").click()
    assert asked.value.post_data_json == {"name": "ink", "favourite": True}


def test_a_card_that_the_host_draws_anew_is_as_the_others(page: Any) -> None:
    page.evaluate(
        """() => { const old = document.querySelectorAll(".card")[1];
        old.insertAdjacentHTML("beforebegin", old.outerHTML.replace("hypernet-card", "")); old.remove(); }"""
    )
    page.wait_for_function("document.querySelectorAll('.hypernet-card').length === 4")
    assert card(page, "styles/water").get_attribute("role") == "button"


# In the prompt


@pytest.mark.parametrize(
    ("keys", "strength"), [("Control+ArrowUp", "0.75"), ("Control+ArrowDown", "0.65")], ids=["up", "down"]
)
def test_ctrl_and_arrows_change_the_strength_of_a_tag_with_options(page: Any, keys: str, strength: str) -> None:
    write(page, "a cat <hypernet:ink:0.7:lbw=MIDD:stop=10>, night", 12)
    page.keyboard.press(keys)
    assert prompt(page).input_value() == f"a cat <hypernet:ink:{strength}:lbw=MIDD:stop=10>, night"


@pytest.mark.parametrize("text", ["a cat <hypernet:ink:0.7>", "a cat <hypernet:ink:0@0,1@1:k=0>", "a cat (night:1.1) "])
def test_what_the_host_can_change_or_nobody_is_left_to_it(page: Any, text: str) -> None:
    write(page, text, 10)
    page.keyboard.press("Control+ArrowUp")
    assert prompt(page).input_value() == text


def test_names_are_completed_with_strength_and_words(page: Any) -> None:
    prompt(page).focus()
    page.keyboard.type("a cat <hy")
    page.get_by_role("option", name="styles/water").wait_for()
    page.keyboard.type("pernet:in")
    assert page.get_by_role("option").all_inner_texts() == ["ink\nSD1 · inky lines, smudge"]
    page.keyboard.press("Enter")
    assert prompt(page).input_value() == "a cat <hypernet:ink:0.7> inky lines, smudge"
    assert page.get_by_role("option").count() == 0


def test_words_find_a_network(page: Any) -> None:
    prompt(page).focus()
    page.keyboard.type("<hypernet:smud")
    assert page.get_by_role("option").first.inner_text().startswith("ink")


def test_options_are_completed_with_what_they_mean(page: Any) -> None:
    prompt(page).focus()
    page.keyboard.type("<hypernet:ink:0.7:st")
    assert page.get_by_role("option").all_inner_texts() == [
        "start=\nacts only from here",
        "stop=\nacts only up to here",
    ]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert prompt(page).input_value() == "<hypernet:ink:0.7:stop="


def test_escape_closes_the_list_and_enter_is_the_prompts_again(page: Any) -> None:
    prompt(page).focus()
    page.keyboard.type("<hypernet:in")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    assert prompt(page).input_value() == "<hypernet:in\n"


def test_a_wrong_tag_is_underlined_and_mended_by_a_click(page: Any) -> None:
    prompt(page).focus()
    page.keyboard.type("a cat <hypernet:inc:1>")
    page.get_by_text("There is no hypernetwork “inc”.").wait_for()
    assert page.locator(".hypernet-wrong").count() == 1
    page.get_by_role("button", name="Did you mean ink?").click()
    assert prompt(page).input_value() == "a cat <hypernet:ink:1>"
    assert page.locator(".hypernet-wrong").count() == 0


@pytest.mark.parametrize("way", ["Alt+Enter", "right click", "handle"])
def test_the_settings_of_a_tag_open_in_three_ways(page: Any, way: str) -> None:
    write(page, "<hypernet:ink:0.7>", 5)
    if way == "right click":
        prompt(page).click(button="right", position={"x": 40, "y": 10})
    elif way == "handle":
        page.keyboard.press("ArrowRight")
        page.locator("#hypernet_handle").click()
    else:
        page.keyboard.press(way)
    assert page.get_by_role("dialog", name="Settings of ink").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_the_strength_is_slid_or_typed_and_the_useful_range_is_told(page: Any) -> None:
    write(page, "a cat <hypernet:ink:0.7>", 12)
    page.keyboard.press("Alt+Enter")
    assert page.get_by_text("useful from 0.55 to 1").is_visible()
    field = page.locator('#hypernet_popover [data-key="strength"]')
    field.fill("1.8")
    field.press("Enter")
    assert prompt(page).input_value() == "a cat <hypernet:ink:1.8>"
    assert page.get_by_text("outside the useful range").is_visible()
    page.locator('#hypernet_popover [data-key="strength-slider"]').press("ArrowLeft")
    assert prompt(page).input_value() == "a cat <hypernet:ink:1.75>"
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    assert prompt(page).input_value() == "a cat <hypernet:ink:1.8>"


def test_a_schedule_is_drawn_as_a_curve_whose_points_move_by_keyboard_and_mouse(page: Any) -> None:
    write(page, "<hypernet:ink:0.7>", 5)
    page.keyboard.press("Alt+Enter")
    page.get_by_role("button", name="Over the run").click()
    assert prompt(page).input_value() == "<hypernet:ink:0@0,0.7@1>"
    points = page.locator("#hypernet_popover circle")
    points.first.focus()
    page.keyboard.press("ArrowUp")
    assert prompt(page).input_value() == "<hypernet:ink:0.05@0,0.7@1>"
    box = page.locator("#hypernet_popover circle").last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] + 30, steps=4)
    page.mouse.up()
    value, position = prompt(page).input_value().split(",")[1].rstrip(">").split("@")
    assert float(value) < 0.7 and float(position) < 1


def test_factors_are_written_as_options_and_go_when_they_are_1(page: Any) -> None:
    write(page, "<hypernet:ink:0.7>", 5)
    page.keyboard.press("Alt+Enter")
    page.get_by_text("More").click()
    field = page.locator('#hypernet_popover [data-key="k"]')
    field.fill("0.5")
    field.press("Enter")
    assert prompt(page).input_value() == "<hypernet:ink:0.7:k=0.5>"
    page.locator('#hypernet_popover [data-key="k"]').fill("1")
    page.locator('#hypernet_popover [data-key="k"]').press("Enter")
    assert prompt(page).input_value() == "<hypernet:ink:0.7>"


# The grammar, and what it costs


@pytest.mark.parametrize("case", SHARED["prompts"], ids=lambda case: case["prompt"])
def test_tags_are_read_as_the_server_reads_them(page: Any, case: dict[str, Any]) -> None:
    found = page.evaluate("(text) => hypernet.tag.find(text)", case["prompt"])
    for tag in found:
        assert case["prompt"][tag.pop("start") : tag.pop("end")] == tag["text"]
    assert found == case["tags"]


def test_numbers_and_schedules_are_read_as_the_server_reads_them(page: Any) -> None:
    for text, value in SHARED["numbers"].items():
        assert page.evaluate("(text) => hypernet.tag.number(text)", text) == value, text
    for text, points in SHARED["schedules"].items():
        found = page.evaluate("(text) => hypernet.tag.schedule(text)", text)
        assert (found and [[point["value"], point["position"]] for point in found]) == points, text


@pytest.mark.parametrize(
    "text",
    ["<hypernet:" * 20_000, "<hypernet:ink:" + "1" * 200_000, "<hypernet:a:" + "=" * 200_000, "<" * 200_000 + ">"],
    ids=["tags that never close", "digits", "equal signs", "brackets"],
)
def test_reading_the_worst_text_takes_time_in_proportion(page: Any, text: str) -> None:
    """Ten times the text takes at most some thirty times as long: a quadratic pattern takes a hundred times."""
    count = """(text) => { const started = performance.now(); for (let i = 0; i < 5; i++) {
        hypernet.tag.find(text); hypernet.completion.wanted(text); hypernet.tag.number(text); }
        return performance.now() - started + 1; }"""
    part = page.evaluate(count, text[: len(text) // 10])
    assert page.evaluate(count, text) < 40 * part


def test_every_sentence_is_there_in_every_language(page: Any) -> None:
    rows = page.evaluate("hypernet.texts.TABLE")
    holes = lambda text: sorted(part.split("}")[0] for part in text.split("{")[1:])  # noqa: E731
    for key, row in rows.items():
        assert len(row) == 5, key
        assert all(holes(text) == holes(row[0]) for text in row), key


@pytest.mark.parametrize(
    ("setting", "language"),
    [
        ("ko_KR", "ko"),
        ("ja_JP", "ja"),
        ("zh_CN", "zh-Hans"),
        ("zh_TW", "zh-Hant"),
        ("zh-Hans (Stable)", "zh-Hans"),
        ("None", "en"),
    ],
)
def test_the_language_is_the_hosts(page: Any, setting: str, language: str) -> None:
    page.evaluate("(setting) => { opts.localization = setting; }", setting)
    assert page.evaluate("hypernet.dialect.language()") == language
