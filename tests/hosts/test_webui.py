"""The extension in a WebUI of A1111's dialect: its pictures, its messages, and what it leaves behind.

`HYPERNET_A1111`, `HYPERNET_FORGE` and so on (`conftest.REAL`) name the folders of real hosts. The reference is what the
host's own engine draws. Where it has none, it is what the plain formula draws, hooked into the host's attention.
"""

from __future__ import annotations

import shutil
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest


def same_as_reference(host: Any, prompt: str, options: dict[str, Any] | None = None, **request: Any) -> None:
    """At most one grey level apart, and hardly anywhere; and both differ from the picture without the tags.

    A model with random weights amplifies rounding, most of all with Heun. A larger mean is allowed only up to what the
    reference differs from itself when each strength of 0.4 becomes 0.4000001.
    """
    options = options or {}
    ours = host.draw(prompt, options=options, **request)
    reference = host.reference(prompt, options=options, **request)
    found = difference(ours, reference)
    print(f"max {found.max()}, mean {found.mean():.6f}: {prompt} {request} {options}")
    assert found.max() <= 1
    if found.mean() >= 1e-3:
        nudged = host.reference(prompt.replace("0.4", "0.4000001"), options=options, **request)
        assert found.mean() <= difference(nudged, reference).mean()
    assert not same(ours, host.draw("a cat", options=options, **request))


def difference(one: Any, other: Any) -> np.ndarray:
    """Of two pictures, in grey levels."""
    return np.abs(one.pixels.astype(int) - other.pixels.astype(int))


def same(one: Any, other: Any) -> bool:
    return np.array_equal(one.pixels, other.pixels)


@contextmanager
def settings(host: Any, **values: Any) -> Iterator[None]:
    before = {key: host.call("/sdapi/v1/options").get(key) for key in values}
    host.set(values)
    try:
        yield
    finally:
        host.set(before)


@pytest.fixture(scope="module")
def plain(host: Any) -> Any:
    return host.draw("a cat")


# The picture

PROMPTS = [
    "a cat <hypernet:t-linear:0.7>",
    "a cat <hypernet:t-norm:0.7>",
    "a cat <hypernet:t-swish:1>",
    "a cat <hypernet:t-text>",
    "a cat <hypernet:t-linear:-0.5>",
    "a cat <hypernet:t-linear:0.6><hypernet:t-norm:0.6>",
    "a cat <hypernet:t-norm:0.6><hypernet:t-linear:0.6>",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_picture_is_the_reference(host: Any, prompt: str) -> None:
    same_as_reference(host, prompt)


BOTH = "a cat <hypernet:t-linear:0.4><hypernet:t-swish:0.4>"


@pytest.mark.parametrize(
    "request_",
    [
        {"batch_size": 2, "n_iter": 2},
        {"sampler_name": "Heun"},
        {"sampler_name": "DDIM"},
        {"cfg_scale": 1.0},
        {"negative_prompt": "dull " * 90},
    ],
    ids=["batches", "two calls a step", "ddim", "cfg 1", "long negative prompt"],
)
def test_every_kind_of_request_gives_the_reference(host: Any, request_: dict[str, Any]) -> None:
    same_as_reference(host, BOTH, **request_)


def test_prompts_joined_by_and_give_the_reference(host: Any) -> None:
    same_as_reference(host, f"a cat AND a dog :0.5 {BOTH}")


@pytest.mark.parametrize("together", [True, False])
def test_halves_of_a_batch_drawn_apart_give_the_reference(host: Any, together: bool) -> None:
    host.needs_setting("batch_cond_uncond")
    same_as_reference(host, f"a cat AND a dog {BOTH}", {"batch_cond_uncond": together}, batch_size=2)


HIRES = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.7}


def test_the_hires_pass_gives_the_reference(host: Any) -> None:
    same_as_reference(host, BOTH, **HIRES)


def test_a_hires_prompt_of_its_own_gives_the_reference(host: Any) -> None:
    same_as_reference(host, BOTH, **HIRES, hr_prompt="a cat <hypernet:t-norm:0.6>")
    same_as_reference(host, BOTH, **HIRES, hr_prompt="a cat")


def test_img2img_gives_the_reference(host: Any) -> None:
    same_as_reference(host, BOTH, mode="img2img", init_images=[host.png((64, 64))], denoising_strength=0.7, steps=4)


def test_token_merging_changes_nothing(host: Any) -> None:
    with settings(host, token_merging_ratio=0.5):  # some hosts keep what is asked for in a request alone
        same_as_reference(host, BOTH)


def test_hypertile_changes_nothing(host: Any) -> None:
    host.needs_setting("hypertile_enable_unet")
    options = {"hypertile_enable_unet": True, "hypertile_max_tile_unet": 64, "hypertile_max_depth_unet": 3}
    same_as_reference(host, BOTH, options, width=256, height=256)


@pytest.mark.parametrize(
    "name", ["Doggettx", "sub-quadratic", "sdp - scaled dot product", "InvokeAI", "V1 - original v1", "None"]
)
def test_every_cross_attention_optimisation_gives_the_reference(host: Any, name: str) -> None:
    host.only_real()
    if not host.native:
        pytest.skip("this host chooses its attention at its start")
    with settings(host, cross_attention_optimization=name):
        same_as_reference(host, BOTH)


@pytest.mark.parametrize("begin", ["freeu", "selfattention", "perturbedattention", "kohya", "hypertile"])
def test_patches_of_the_host_s_own_stay_and_give_the_reference(host: Any, begin: str) -> None:
    host.only_real()
    request = {"steps": 3, "width": 128, "height": 128}  # where the UNet is deepest, some want more than one pixel
    patch = host.script(begin)
    same_as_reference(host, BOTH, **request, **patch)
    if begin != "hypertile":  # whose tiles are larger than this
        assert not same(host.draw(BOTH, **request, **patch), host.draw(BOTH, **request))


def test_a_controlnet_that_reads_the_attention_gives_the_reference(host: Any) -> None:
    host.only_real()
    host.script("controlnet")
    unit = {"enabled": True, "module": "reference_only", "image": host.png((128, 128)), "save_detected_map": False}
    request = {"width": 128, "height": 128}
    patch = {"alwayson_scripts": {"controlnet": {"args": [unit]}}}
    same_as_reference(host, BOTH, **request, **patch)
    assert not same(host.draw(BOTH, **request, **patch), host.draw(BOTH, **request))


def test_a_lora_beside_it_gives_the_reference(host: Any) -> None:
    with host.lora("t-lora"):
        same_as_reference(host, f"{BOTH}<lora:t-lora:1>")
        same_as_reference(host, f"<lora:t-lora:0.5>{BOTH}")  # the weights change under what was folded
        same_as_reference(host, BOTH)


def test_a_lora_that_is_not_merged_gives_the_reference(host: Any) -> None:
    host.needs_setting("lora_functional")
    with host.lora("t-lora"):
        same_as_reference(host, f"<lora:t-lora:0.5>{BOTH}", {"lora_functional": True})
        same_as_reference(host, BOTH)


def test_the_network_survives_the_switch_to_a_refiner(host: Any) -> None:
    refiner = {"refiner_checkpoint": host.second_model(), "refiner_switch_at": 0.5, "steps": 4}
    alone = host.draw("a cat", **refiner)
    with settings(host, **host.known(sd_checkpoints_limit=2)):
        alone_kept = host.draw("a cat", **refiner)
        same_as_reference(host, BOTH, **refiner)  # with both in memory: the host's own loses it while it loads one
        kept = host.draw(BOTH, **refiner)
    loaded = host.draw(BOTH, **refiner)
    assert difference(kept, loaded).max() <= difference(alone_kept, alone).max()  # which some hosts draw differently
    assert not same(loaded, alone)
    assert host.state()["hooks"] == 0


def test_a_refiner_that_changes_weights_in_place_gives_the_reference(host: Any) -> None:
    host.needs_setting("refiner_fast_sd")
    refiner = {"refiner_checkpoint": host.second_model(), "refiner_switch_at": 0.5, "steps": 4}
    prompt = "a cat <hypernet:t-linear:0.7>"
    with settings(host, refiner_fast_sd=True, show_refiner=True, **host.known(refiner_use_steps=True)):
        host.reload()  # only a script that is shown puts the weights back
        same_as_reference(host, prompt, **refiner)  # what was folded before the switch must not stay
    assert host.state()["hooks"] == 0


# What a tag can ask for beyond the native engine


def test_the_same_network_twice_is_two_applications_whatever_ran_before(host: Any) -> None:
    twice = "a cat <hypernet:t-swish:0.7><hypernet:t-swish:0.2>"
    first = host.draw(twice)
    host.draw("a cat <hypernet:t-swish:0.2>")
    assert same(first, host.draw(twice))
    assert not same(first, host.draw("a cat <hypernet:t-swish:0.7>"))


def test_a_network_that_stops_before_it_starts_does_nothing(host: Any, plain: Any) -> None:
    assert same(host.draw("a cat <hypernet:t-swish:1:stop=0>"), plain)


def test_a_network_that_starts_late_leaves_the_first_step_alone(host: Any, plain: Any) -> None:
    late = host.draw("a cat <hypernet:t-swish:1:start=1>")
    assert not same(late, plain)
    assert not same(late, host.draw("a cat <hypernet:t-swish:1>"))


def test_the_halves_of_the_batch_make_up_the_whole(host: Any) -> None:
    halves = host.draw("a cat <hypernet:t-swish:1:on=cond><hypernet:t-swish:1:on=uncond>")
    assert difference(halves, host.draw("a cat <hypernet:t-swish:1>")).max() <= 1


@pytest.mark.parametrize("half", ["cond", "uncond"])
def test_a_half_of_the_batch_is_found_where_the_host_draws_halves_apart(host: Any, half: str) -> None:
    host.needs_setting("batch_cond_uncond")
    prompt = f"a cat AND a dog <hypernet:t-swish:1:on={half}>"
    apart = host.draw(prompt, options={"batch_cond_uncond": False})
    assert difference(apart, host.draw(prompt)).max() <= 1
    assert not same(apart, host.draw("a cat AND a dog"))


def test_the_hires_pass_has_a_strength_of_its_own(host: Any) -> None:
    same_as_none = host.draw("a cat <hypernet:t-swish:1:hr=0>", **HIRES)
    assert same(same_as_none, host.draw("a cat <hypernet:t-swish:1>", **HIRES, hr_prompt="a cat"))


def test_files_that_the_native_engine_refuses_are_used(host: Any, plain: Any) -> None:
    assert not same(host.draw("a cat <hypernet:t-safe:1>"), plain)


# The next picture is what a fresh start would give


def clean(host: Any, plain: Any) -> None:
    assert host.state()["hooks"] == 0
    assert same(host.draw("a cat"), plain)
    assert host.state()["native"] == 0


def test_nothing_is_left_after_a_picture(host: Any, plain: Any) -> None:
    host.draw(BOTH)
    clean(host, plain)


def test_nothing_is_left_after_a_picture_of_the_native_engine(host: Any, plain: Any) -> None:
    if not host.native:
        pytest.skip("this host has no engine of its own")
    host.draw(BOTH, options={"hypernet_native": True})
    clean(host, plain)


def test_nothing_is_left_after_an_interrupt(host: Any, plain: Any) -> None:
    host.fail("interrupt")
    host.draw(BOTH)
    assert host.state()["hooks"] == 0
    host.fail("")
    clean(host, plain)


def test_nothing_is_left_after_an_exception_in_sampling(host: Any, plain: Any) -> None:
    host.fail("sampling")
    with pytest.raises(urllib.error.HTTPError):
        host.draw(BOTH)
    assert host.state()["hooks"] == 0
    host.fail("")
    clean(host, plain)


def test_a_request_without_extra_networks_has_none(host: Any, plain: Any) -> None:
    host.fail("sampling")
    with pytest.raises(urllib.error.HTTPError):
        host.draw(BOTH)
    host.fail("disable")
    assert same(host.draw("a cat"), plain)


def test_a_renamed_file_is_not_served_from_the_cache_of_another(host: Any) -> None:
    one, other = host.folder / "t-one.pt", host.folder / "t-other.pt"
    shutil.copy(host.folder / "t-linear.pt", one)
    shutil.copy(host.folder / "t-swish.pt", other)
    linear, swish = host.draw("a cat <hypernet:t-one:1>"), host.draw("a cat <hypernet:t-other:1>")
    one.rename(host.folder / "t-third.pt")
    other.rename(one)
    try:
        assert same(host.draw("a cat <hypernet:t-one:1>"), swish)
        assert same(host.draw("a cat <hypernet:t-third:1>"), linear)
    finally:
        one.unlink()
        (host.folder / "t-third.pt").unlink()


def test_a_file_replaced_on_disk_is_read_again(host: Any) -> None:
    file = host.folder / "t-changing.pt"
    shutil.copy(host.folder / "t-linear.pt", file)
    before = host.draw("a cat <hypernet:t-changing:1>")
    shutil.copy(host.folder / "t-swish.pt", host.folder / "t-changing.tmp")
    (host.folder / "t-changing.tmp").replace(file)
    after = host.draw("a cat <hypernet:t-changing:1>")
    file.unlink()
    assert not same(before, after)
    assert same(after, host.draw("a cat <hypernet:t-swish:1>"))
    assert read_hash(before) != read_hash(after)


def read_hash(picture: Any) -> str:
    return picture.infotext.partition("Hypernet hashes: ")[2].split('"')[1].partition(": ")[2]


# What is said


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("<hypernet:t-nosuch:1>", "There is no hypernetwork “t-nosuch”"),
        ("<hypernet:t-broken:1>", "t-broken.pt: "),
        ("<hypernet:t-sdxl:1>", "it was made for"),
        ("<hypernet:t-linear:1:frobnicate=2>", "there is no option “frobnicate”"),
        ("<hypernet:t-linear:0,7>", "is not a number"),
        ("<hypernet:t-linear:nan>", "is not a number"),
        ("<hypernet:t-linear:1:lbw=1,2,3>", "lbw has 3 numbers"),
    ],
)
def test_one_tag_that_fails_is_told_once_and_the_others_work(host: Any, tag: str, reason: str) -> None:
    picture = host.draw(f"a cat {tag}<hypernet:t-swish:0.5>", n_iter=2)
    assert picture.comments.count(reason) == 1
    assert len(picture.comments.strip().splitlines()) == 1
    assert same(picture, host.draw("a cat <hypernet:t-swish:0.5>", n_iter=2))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"prompt": "a cat <HYPERNET:t-linear:1>"}, "<HYPERNET:t-linear:1> is not read"),
        ({"prompt": "a cat <hypernetwork:t-linear:1>"}, "is no hypernetwork's tag"),
        ({"prompt": "a cat <hypernet:t-linear:1"}, "has no > at its end"),
        ({"prompt": "a cat", "negative_prompt": "dull <hypernet:t-linear:1>"}, "in the negative prompt"),
        ({"prompt": "a cat <hypernet:t-linear:1:start=50>"}, "no effect"),
        ({"prompt": "a cat <hypernet:t-linear:1e30>"}, "is too large"),
    ],
)
def test_what_does_nothing_is_said_once_under_the_picture_and_in_its_parameters(
    host: Any, request_: dict[str, Any], reason: str
) -> None:
    picture = host.draw(**request_, n_iter=2)
    assert picture.comments.count(reason) == 1
    assert reason in picture.infotext.partition("Hypernet notes: ")[2]


def test_a_picture_without_trouble_has_no_comment(host: Any) -> None:
    assert host.draw(BOTH).comments == ""


# Infotext


def test_the_hash_of_each_network_is_in_the_infotext(host: Any) -> None:
    digest = host.call("/hypernet/v1/networks/t-linear")["sha256"]
    assert (
        f'Hypernet hashes: "t-linear: {digest[:10]}, t-text:'
        in host.draw("a cat <hypernet:t-linear:0.5><hypernet:t-text:0.2>").infotext
    )
    assert "Hypernet" not in host.draw("a cat").infotext


def test_a_pasted_picture_finds_a_renamed_file(host: Any) -> None:
    text = host.draw("a cat <hypernet:t-linear:0.5:k=0.5>").infotext
    pasted = host.paste(text.replace("t-linear", "t-before-renaming"))
    assert pasted["Prompt"] == "a cat <hypernet:t-linear:0.5:k=0.5>"


def test_a_renamed_file_in_an_infotext_given_to_the_api_is_found(host: Any) -> None:
    host.only_real()
    request = {"steps": 1, "width": 64, "height": 64, "save_images": False}
    try:
        untagged = host.call("/sdapi/v1/txt2img", {"infotext": "a cat\nSteps: 2, Seed: 1, Size: 64x64", **request})
    except urllib.error.HTTPError:  # Forge f2.0.1, whatever is installed
        pytest.skip("this host's API fails with any infotext")
    if "a cat" not in untagged["info"]:
        pytest.skip("this host's API takes no infotext")
    text = host.draw("a cat <hypernet:t-linear:0.5:k=0.5>").infotext.replace("t-linear", "t-before-renaming")
    made = host.call("/sdapi/v1/txt2img", {"infotext": text, **request})
    assert "<hypernet:t-linear:0.5:k=0.5>" in made["info"]


def test_a_pasted_picture_keeps_the_name_of_a_file_that_is_not_here(host: Any) -> None:
    text = 'a cat <hypernet:t-gone:1>\nSteps: 2, Seed: 1, Size: 64x64, Hypernet hashes: "t-gone: 0123456789"'
    assert host.paste(text)["Prompt"] == "a cat <hypernet:t-gone:1>"


def test_the_keys_of_the_first_versions_are_read(host: Any) -> None:
    text = "a cat\nSteps: 2, Seed: 1, Size: 64x64, Hypernet: t-linear, Hypernet strength: 0.4"
    assert host.paste(text)["Prompt"] == "a cat<hypernet:t-linear:0.4>"


# The rest of the host


def test_the_setting_that_adds_a_network_to_every_prompt_ends_with_its_request(host: Any, plain: Any) -> None:
    host.needs_setting("sd_hypernetwork")
    added = host.draw("a cat", options={"sd_hypernetwork": "t-linear"})
    assert same(added, host.draw("a cat<hypernet:t-linear:1>"))
    assert "<hypernet:t-linear:1.0>" in added.infotext
    assert host.state()["sd_hypernetwork"] == "None"
    assert same(host.draw("a cat"), plain)


def test_every_file_is_published_to_the_host(host: Any) -> None:
    published = host.state()["published"]
    assert published["t-safe"] == str(host.folder / "t-safe.safetensors")
    assert {"name": "t-linear", "path": published["t-linear"]} in host.call("/sdapi/v1/hypernetworks")


def test_a_new_file_is_found_without_a_refresh(host: Any) -> None:
    file = host.folder / "t-new.pt"
    shutil.copy(host.folder / "t-swish.pt", file)
    try:
        assert same(host.draw("a cat <hypernet:t-new:1>"), host.draw("a cat <hypernet:t-swish:1>"))
        assert 'data-name="t-new"' in host.cards()
    finally:
        file.unlink()


def test_a_card_tells_what_its_file_is(host: Any) -> None:
    assert 'data-name="t-safe"' in host.cards()
    cards = known_cards(host)
    assert "trained 200 steps" in cards["t-norm"]["line"]
    assert "costs nothing" in cards["t-linear"]["line"] and "costs nothing" not in cards["t-norm"]["line"]
    assert cards["t-broken"]["problem"].startswith("t-broken.pt: ")


def known_cards(host: Any) -> dict[str, Any]:
    """What the page's scripts know of each file, once all are read."""
    for _ in range(60):
        cards = {card["name"]: card for card in host.call("/hypernet/v1/cards")}
        if all(card["known"] for card in cards.values()):
            return cards
        time.sleep(0.5)
    raise AssertionError("the files are never read")


def test_what_cannot_work_in_a_prompt_is_told_with_its_place(host: Any) -> None:
    prompt = "🐈 <hypernet:t-linear:1> <hypernet:t-linaer:0.5:k=0> <hypernetwork:t-linear:1> <hypernet:t-broken:1>"
    told = {each["text"]: each for each in host.call("/hypernet/v1/check", {"prompt": prompt})}
    assert set(told) == {"<hypernet:t-linaer:0.5:k=0>", "<hypernetwork:t-linear:1>", "<hypernet:t-broken:1>"}
    meant = told["<hypernet:t-linaer:0.5:k=0>"]["suggestions"]
    assert {"label": "t-linear", "text": "<hypernet:t-linear:0.5:k=0>"} in meant
    for text, each in told.items():
        units = prompt.encode("utf-16-le")[each["start"] * 2 : each["end"] * 2]
        assert units.decode("utf-16-le") == text


def test_the_api_lists_describes_and_refreshes(host: Any) -> None:
    listed = {network["name"]: network for network in host.call("/hypernet/v1/refresh", {})}
    assert listed["t-norm"]["metadata"]["layer norm"] is True
    assert "problem" in listed["t-broken"]["metadata"]
    assert len(host.call("/hypernet/v1/networks/t-norm")["sha256"]) == 64
    with pytest.raises(urllib.error.HTTPError) as error:
        host.call("/hypernet/v1/networks/..%2F..%2Fconfig.json")
    assert error.value.code == 404


def test_reloading_the_ui_leaves_one_of_everything(host: Any, plain: Any) -> None:
    before = host.state()
    drawn = host.draw(BOTH)
    for _ in range(host.reloads):
        host.reload()
    after = host.state()
    for what in ("callbacks", "axes", "always", "pages"):
        assert after[what] == before[what], what
    assert same(host.draw(BOTH), drawn)
    clean(host, plain)


def test_the_console_shows_no_traceback_of_ours(host: Any) -> None:
    assert "hypernet/" not in host.tracebacks()
