"""Hostile texts in every field, in a real host and a real browser: a script that would fire does not.

Run where `HYPERNET_A1111`, `HYPERNET_FORGE` and so on (`conftest.REAL`) name folders and a Chromium is found.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import hypernet
from hypernet.network import Linear, Metadata, Net, Network, Pair
from tests.hostile import network, text, zipped
from tests.hosts.conftest import FOLDERS, REAL

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")


def script(where: str) -> str:
    return f"<img src=x onerror=fire('{where}')>"


def everything(where: str) -> str:
    """Out of an element, an attribute, a script, a text in a script and a template."""
    return (
        f"{script(where)}</textarea></script><script>fire('{where}')</script>\"onmouseover=\"fire('{where}')\" "
        f"');fire('{where}');(' `${{fire('{where}')}}` {{{{fire('{where}')}}}} "
        f"&lt;img src=x onerror=fire('{where}')&gt;"
    )


NAMES = (
    "<img src=x onerror=fire('file name')>",
    "');fire('file name');('",
    '"onerror="fire(1)" x="',
    "\\');fire('file name');('",
    "`${fire('file name')}`",
    "&lt;img src=x onerror=fire(1)&gt;",
    "{{fire('file name')}}",
)


def write(folder: Path) -> None:
    """Every field that a file or a side file has."""
    net = Net(768, (Linear(torch.eye(768), None),))
    told = {key: everything(key) for key in ("name", "sd_checkpoint", "sd_checkpoint_name", "optional_info")}
    made = Network({768: Pair(net, net)}, Metadata(**told, step=3, extra={script("key"): everything("extra")}))
    for stem in ("full of scripts", *NAMES):
        hypernet.save(made, folder / f"{stem}.pt")
        notes = {key: everything(key) for key in ("description", "notes", "activation text", "sd version", script("k"))}
        (folder / f"{stem}.json").write_text(json.dumps({**notes, "preferred weight": script("weight")}))
        (folder / f"{stem}.txt").write_text(everything("text"))
        civitai = {"id": 1, "name": everything("version"), "model": {"name": everything("model")}}
        (folder / f"{stem}.civitai.info").write_text(json.dumps({**civitai, "trainedWords": [everything("word")]}))
    bad = network(None, None, (text("activation_func"), text(script("activation"))))
    (folder / "broken by a script.pt").write_bytes(zipped(bad))


@pytest.fixture(scope="module", params=REAL)
def host(request: pytest.FixtureRequest) -> Iterator[Any]:
    from tests.hosts.real import running

    with running(FOLDERS[request.param], request.param) as real:
        write(real.folder)
        real.call("/hypernet/v1/refresh", {})
        yield real


@pytest.fixture(scope="module")
def page(host: Any) -> Iterator[Any]:
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1800})
        opened.set_default_timeout(120_000)
        opened.add_init_script("window.fired = []; window.fire = where => window.fired.push(where);")
        opened.add_init_script("window.alert = window.confirm = window.prompt = where => window.fired.push(where);")
        opened.goto(f"http://127.0.0.1:{host.port}/")
        opened.wait_for_selector("#txt2img_generate")
        yield opened
        browser.close()


def quiet(page: Any, name: str) -> None:
    """Nothing fired, also not under the mouse. A picture of it goes where HYPERNET_SCREENSHOTS says."""
    page.wait_for_timeout(1500)
    if folder := os.environ.get("HYPERNET_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
    assert page.evaluate("window.fired") == []


def test_the_script_would_fire(page: Any) -> None:
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", script("itself"))
    page.wait_for_function("window.fired.length")
    assert page.evaluate("window.fired.splice(0)") == ["itself"]


def test_cards_show_scripts_as_text(page: Any) -> None:
    page.click("#txt2img_extra_tabs button:has-text('Hypernetworks')")
    page.wait_for_selector("#txt2img_hypernetworks_cards .card")
    for card in page.query_selector_all("#txt2img_hypernetworks_cards .card"):
        card.hover()
    quiet(page, "cards")
    shown = page.inner_text("#txt2img_hypernetworks_cards")
    assert "full of scripts" in shown and "onerror=fire('file name')" in shown


def test_a_click_on_a_card_puts_its_tag_into_the_prompt_and_runs_nothing(page: Any) -> None:
    cards = page.query_selector_all("#txt2img_hypernetworks_cards .card")
    assert len(cards) >= len(NAMES) + 2
    for card in cards:
        card.click(position={"x": 20, "y": 100})
    quiet(page, "clicked")
    prompt = page.input_value("#txt2img_prompt textarea")
    assert prompt.count("<hypernet:") >= len(NAMES) + 1
    page.fill("#txt2img_prompt textarea", "")


@pytest.mark.parametrize("button", [".metadata-button", ".edit-button"])
def test_what_a_card_opens_shows_scripts_as_text(page: Any, button: str) -> None:
    for number in range(len(page.query_selector_all("#txt2img_hypernetworks_cards .card"))):
        card = page.query_selector_all("#txt2img_hypernetworks_cards .card")[number]
        card.hover()
        found = card.query_selector(button)
        if found is None:
            continue
        found.click()
        page.wait_for_selector(".global-popup", state="visible")
        quiet(page, f"{button[1:]}-{number}")
        page.evaluate("closePopup()")
        page.wait_for_selector(".global-popup", state="hidden")


def test_comments_and_parameters_show_scripts_as_text(page: Any) -> None:
    page.click("#txt2img_extra_tabs button:has-text('Generation')")
    for field, value in (("steps", "1"), ("width", "64"), ("height", "64")):
        page.fill(f"#txt2img_{field} input[type=number]", value)
    tags = (script("prompt"), "broken by a script", everything("missing").replace(">", "").replace(":", ""))
    page.fill("#txt2img_prompt textarea", "a cat " + " ".join(f"<hypernet:{tag}:1>" for tag in tags) + script("plain"))
    page.click("#txt2img_generate")
    page.wait_for_function("document.querySelector('#html_log_txt2img').innerText.includes('broken by a script')")
    quiet(page, "comments")
    assert "fire(" in page.inner_text("#html_log_txt2img")


def test_pasted_parameters_run_nothing(page: Any) -> None:
    pasted = f'a cat <hypernet:{script("pasted")}:1>\nSteps: 1, Hypernet hashes: "{script("hash")}: 0123456789"'
    page.fill("#txt2img_prompt textarea", pasted)
    page.click("#paste")
    quiet(page, "pasted")


def test_the_api_gives_scripts_as_json(host: Any, page: Any) -> None:
    for listed in host.call("/hypernet/v1/networks"):
        assert listed["path"].endswith(".pt")
    page.goto(f"http://127.0.0.1:{host.port}/hypernet/v1/networks")
    quiet(page, "api")
