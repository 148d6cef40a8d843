"""Extensions that call a host's functions in an order of their own: many pictures of one request, regions, ControlNets.

In the fake host, whose steps can be replaced; the extensions themselves: docs/hosts.md.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.hosts.fake_host import FakeHost, _model
from tests.hosts.test_webui import difference, same


@pytest.fixture
def fake(host: Any) -> FakeHost:
    if not isinstance(host, FakeHost):
        pytest.skip("only the fake host's steps can be replaced")
    return host


def test_a_request_drawn_a_thousand_times_can_be_closed(fake: FakeHost) -> None:
    from modules import processing

    p = processing.Processing(prompt="a cat <hypernet:t-text:1>", steps=0)
    with contextlib.closing(p):
        for _ in range(1100):
            processing.process_images(p)
    assert fake.state()["hooks"] == 0


def test_a_copy_of_a_request_is_closed_by_itself(fake: FakeHost) -> None:
    from modules import processing

    class Closed(processing.Processing):
        closed = False

        def close(self) -> None:
            self.closed = True

    p = Closed(prompt="a cat <hypernet:t-text:1>")
    processing.process_images(p)
    cell = copy.copy(p)
    processing.process_images(cell)
    cell.close()
    assert cell.closed and not p.closed


Region = str
"""What a region's prompt adds to the main one."""


def with_regions(regions: Sequence[Region]) -> Callable[..., Tensor]:
    """A step as tiled extensions make it: the background, then each region, whose tags count for it alone."""

    def guided(p: Any, denoiser: Any, x: Tensor, conds: Sequence[Tensor]) -> Tensor:
        from modules import extra_networks, processing, script_callbacks, shared

        text, dull = torch.stack(list(conds)), torch.stack([processing._text("dull")])
        params = SimpleNamespace(
            x=torch.cat([x, x]),
            text_cond=text,
            text_uncond=dull,
            denoiser=denoiser,
            sampling_step=denoiser.step,
            total_sampling_steps=p.steps,
        )
        script_callbacks.call("cfg_denoiser", params)

        def once(part: Tensor, cond: Tensor) -> Tensor:
            unet = shared.sd_model.model.diffusion_model
            out = unet(torch.cat([part, part]), None, context=torch.cat([cond, dull]))
            return out[1:] + 0.5 * (out[:1] - out[1:])

        out, half = once(x, text), x.shape[1] // 2
        for part, region in zip((slice(0, half), slice(half, None)), regions, strict=True):
            texts, data = extra_networks.parse_prompts([f"{p.all_prompts[0]}, {region}"])
            extra_networks.activate(p, data)
            out[:, part] += once(x[:, part], torch.stack([processing._text(texts[0])]))
            extra_networks.deactivate(p, data)
        return out

    return guided


@contextlib.contextmanager
def steps_like(step: Callable[..., Tensor]) -> Iterator[None]:
    from modules import processing

    before, processing._guided = processing._guided, step
    try:
        yield
    finally:
        processing._guided = before


MAIN = "a cat <hypernet:t-linear:0.7>"


def test_the_networks_of_the_main_prompt_stay_when_a_region_ends(fake: FakeHost) -> None:
    with steps_like(with_regions(["sofa", "dog"])):
        assert difference(fake.draw(MAIN, steps=3), fake.reference(MAIN, steps=3)).max() <= 1


def test_a_region_s_own_networks_act_in_it_alone(fake: FakeHost) -> None:
    with steps_like(with_regions(["sofa <hypernet:t-swish:1>", "dog"])):
        own = fake.draw(MAIN, steps=1)
    with steps_like(with_regions(["sofa", "dog"])):
        none = fake.draw(MAIN, steps=1)
    changed = difference(own, none)[0].any(-1)[0]
    half = len(changed) // 2
    assert changed[:half].any() and not changed[half:].any()
    assert "t-swish: " in own.infotext and "t-linear: " in own.infotext
    assert fake.state()["hooks"] == 0


def test_the_steps_of_a_run_count_for_a_region_s_networks(fake: FakeHost) -> None:
    with steps_like(with_regions(["sofa <hypernet:t-linear:0.7:start=0.5>", "dog"])):
        late = fake.draw("a cat", steps=4)
    with steps_like(with_regions(["sofa <hypernet:t-linear:0.7>", "dog"])):
        always = fake.draw("a cat", steps=4)
    with steps_like(with_regions(["sofa", "dog"])):
        never = fake.draw("a cat", steps=4)
    assert not same(late, never) and not same(late, always)
    assert late.comments == ""


def test_halves_that_tiles_hide_are_said_to_be_unknown(fake: FakeHost) -> None:
    with steps_like(with_regions(["sofa", "dog"])):
        tiled = fake.draw("a cat <hypernet:t-linear:0.7:on=cond>", steps=2)
    assert "which half of a batch" in tiled.comments


def test_a_tag_in_another_picture_s_prompt_is_said_to_do_nothing(fake: FakeHost) -> None:
    prompts = ["a cat <hypernet:t-linear:0.5>", "a cat <hypernet:t-swish:0.5>"]
    batch = fake.draw(prompts, batch_size=2)  # type: ignore[arg-type]
    assert "<hypernet:t-swish:0.5> did nothing" in batch.comments
    apart = fake.draw(prompts, n_iter=2)  # type: ignore[arg-type]
    assert apart.comments == ""


def test_a_file_deleted_while_pictures_are_drawn_acts_in_the_rest_of_them(fake: FakeHost) -> None:
    from modules import script_callbacks

    prompt, file = "a cat <hypernet:t-going:0.7>", fake.folder / "t-going.pt"
    shutil.copy(fake.folder / "t-swish.pt", file)
    whole = fake.draw(prompt, n_iter=3)
    script_callbacks.on_cfg_denoiser(lambda params: file.unlink(missing_ok=True))
    try:
        deleted = fake.draw(prompt, n_iter=3)
    finally:
        script_callbacks.callback_map["cfg_denoiser"].pop()
    assert same(deleted, whole)
    assert deleted.infotext == whole.infotext and deleted.comments == ""
    gone = fake.draw(prompt)
    assert "t-going" in gone.comments and "Hypernet hashes" not in gone.infotext


def test_tags_activated_in_a_step_and_never_deactivated_count_from_then_on(fake: FakeHost) -> None:
    from modules import extra_networks, processing

    plain_step = processing._guided

    def switched(p: Any, denoiser: Any, *rest: Any) -> Tensor:
        made: Tensor = plain_step(p, denoiser, *rest)
        extra_networks.activate(p, extra_networks.parse_prompts(["a cat <hypernet:t-swish:0.5>"])[1])
        return made

    with steps_like(switched):
        ours, native = fake.draw(MAIN, steps=3), fake.reference(MAIN, steps=3)
    assert difference(ours, native).max() <= 1
    assert fake.state()["hooks"] == 0


@pytest.mark.parametrize("name", ["t-linear", "t-norm", "t-text"])
def test_a_controlnet_of_the_host_s_own_attention_has_the_networks_too(fake: FakeHost, name: str) -> None:
    from modules import shared

    control, unet = _model(7).model.diffusion_model, shared.sd_model.model.diffusion_model
    plain = type(unet).forward

    def with_control(x: Tensor, timesteps: Any = None, context: Any = None) -> Tensor:
        made: Tensor = plain(unet, x + 0.5 * control(x, timesteps, context), timesteps, context)
        return made

    prompt = f"a cat <hypernet:{name}:0.7>"
    unet.forward = with_control
    try:
        ours, native = fake.draw(prompt, steps=3), fake.reference(prompt, steps=3)
        late = fake.draw(f"a cat <hypernet:{name}:0.7:start=0.4>", steps=3)
    finally:
        del unet.forward
    assert difference(ours, native).max() <= 1
    assert not same(late, ours)
    hooked = [module for module in control.modules() if module._forward_pre_hooks or "forward" in module.__dict__]
    assert not hooked
    assert not np.array_equal(ours.pixels, fake.draw(prompt, steps=3).pixels)


def test_a_plot_shows_what_is_said_of_any_of_its_pictures(fake: FakeHost) -> None:
    from modules import processing

    from hypernet.webui import wiring

    class Script:
        def run(self, p: Any, *args: Any) -> Any:
            made = []
            for prompt in ("a cat", "a cat <hypernet:t-broken:1>", "a cat <hypernet:t-sdxl:1>"):
                cell = copy.copy(p)
                cell.prompt = prompt
                made.append(processing.process_images(cell))
            return copy.copy(made[0])

    assert wiring._session is not None
    wiring._keep_all_notes(SimpleNamespace(Script=Script), wiring._session)
    with contextlib.closing(processing.Processing(prompt="")) as p:
        comments = Script().run(p).comments
    assert "t-broken.pt: " in comments and "it was made for" in comments


def test_a_renamed_file_in_the_api_s_infotext_is_found(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import infotext_utils, script_callbacks

    prompt = SimpleNamespace(api="prompt", label="Prompt", function=None)
    other = SimpleNamespace(api="steps", label="Steps", function=None)
    fields = {"txt2img": {"fields": [prompt, other]}, "img2img": {"fields": None}}
    monkeypatch.setattr(infotext_utils, "paste_fields", fields, raising=False)
    script_callbacks.call("app_started", None, fake.app)
    text = fake.draw("a cat <hypernet:t-linear:0.5>").infotext.replace("t-linear", "t-before-renaming")
    params = infotext_utils.parse_generation_parameters(text)
    assert prompt.function(params) == "a cat <hypernet:t-linear:0.5>"
    assert other.function is None
