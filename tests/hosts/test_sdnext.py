"""SD.Next: what only it does. A stand-in of its modules here; the real one where HYPERNET_SDNEXT_URL says it runs.

The real one needs the repository and `tests/hosts/probe_sdnext` in its `extensions`, and an SD1 model.
"""

from __future__ import annotations

import copy
import html
import json
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hypernet.files import save
from hypernet.network import Metadata
from hypernet.webui.dialects import find_host
from hypernet.webui.dialects.pass_clock import PassClock
from hypernet.webui.dialects.sdnext import SDNext
from hypernet.webui.dialects.sdnext_page import make_page
from hypernet.webui.infotext import NOTES
from hypernet.webui.session import Session
from tests.hosts.real import call, decode, noise
from tests.unets import TEXT, TinyUNet, network, plain_formula

INK = replace(network(kind="relu"), metadata=Metadata(activation_func="relu", activate_output=False))


class Request(SimpleNamespace):
    """A `p` of SD.Next."""

    def __init__(self) -> None:
        super().__init__(
            extra_generation_params={},
            all_prompts=["a cat"],
            network_data=defaultdict(list),
            enable_hr=False,
            is_hr_pass=False,
            is_refiner_pass=False,
            refiner_prompt="",
        )


class Page:
    """Draws items as the host does: some escaped, some not."""

    def __init__(self, title: str) -> None:
        self.title = title

    def find_info(self, path: str) -> dict[str, Any]:
        return {}

    def find_description(self, path: str | None, info: Any = None) -> str:
        return ""

    def update_all_previews(self, items: list[dict[str, Any]]) -> None: ...

    def create_html(self, item: dict[str, Any], tabname: str) -> str:
        name, title = html.escape(item["name"]), Path(item["name"].replace("_", " ")).name
        path, short = html.escape(item["filename"]), Path(item["filename"]).stem
        rest = "{search_term} {version}".format(**item)
        return f"<div title='{name}' data-filename='{path}' data-short='{short}'><div>{title}</div></div>{rest}"


def parse_prompt(prompt: str) -> tuple[str, dict[str, list[Any]]]:
    tags = re.findall(r"<hypernet:([^>]+)>", prompt)
    return "", {"hypernet": [SimpleNamespace(items=tag.split(":")) for tag in tags]}


class Fake:
    """The few modules of SD.Next that the host file touches, and a UNet."""

    def __init__(self, folder: Path) -> None:
        self.unet, self.after = TinyUNet(), []
        self.own = lambda p: None
        self.registry: dict[str, Any] = {}
        options = SimpleNamespace(data_labels={}, extra_networks_default_multiplier=1.0)
        self.shared = SimpleNamespace(
            cmd_opts=SimpleNamespace(hypernetwork_dir=str(folder)),
            opts=options,
            sd_model=SimpleNamespace(unet=self.unet, scheduler=SimpleNamespace(timesteps=torch.tensor([9, 5]))),
            sd_refiner=None,
            extra_networks=[Page("Lora"), Page("Hypernetwork")],
        )
        self.modules = {
            "shared": self.shared,
            "paths": SimpleNamespace(data_path=str(folder), models_path=str(folder)),
            "script_callbacks": SimpleNamespace(on_after_process=self.after.append),
            "extra_networks": SimpleNamespace(
                register_extra_network=lambda handler: self.registry.update({handler.name: handler}),
                parse_prompt=parse_prompt,
            ),
            "processing_args": SimpleNamespace(set_callbacks_p=self.own),
            "ui_extra_networks": SimpleNamespace(
                ExtraNetworksPage=Page, register_page=self.shared.extra_networks.append
            ),
        }

    def activate(self, p: Request, *tags: str) -> None:
        self.registry["hypernet"].activate(p, [SimpleNamespace(items=tag.split(":")) for tag in tags], step=0)

    def deactivate(self, p: Request) -> None:
        self.registry["hypernet"].deactivate(p, force=True)

    def begin_pass(self, p: Request) -> None:
        self.modules["processing_args"].set_callbacks_p(p)

    def detail(self, p: Request, prompt: str) -> None:
        """The detailer draws one of the things that it found, with a copy of p."""
        copied = copy.copy(p)
        copied.recursion, copied.prompt, copied.extra_generation_params = True, prompt, {}
        self.begin_pass(copied)

    def done(self, p: Request) -> None:
        for callback in self.after:
            callback(p)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    fake = Fake(tmp_path)
    modules = ModuleType("modules")
    monkeypatch.setitem(sys.modules, "modules", modules)
    for name, module in fake.modules.items():
        setattr(modules, name, module)
        monkeypatch.setitem(sys.modules, f"modules.{name}", module)
    save(INK, tmp_path / "ink.safetensors")
    fake.session = Session(SDNext())
    fake.session.host.install(fake.session, fake.session.catalogue)
    yield fake
    fake.session.close()


def hooks(unet: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + ("forward" in m.__dict__) for m in unet.modules())


def run(unet: nn.Module, timestep: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x, context = torch.randn(2, 5, 16, generator=generator), torch.randn(2, 3, TEXT, generator=generator)
    with torch.no_grad():
        return unet(x, torch.tensor(timestep), context)


def expected(unet: nn.Module, strength: float) -> Tensor:
    pairs = INK.pairs

    def formula(site: Any, x: Tensor) -> Tensor:
        net = pairs[site.width].k if site.kind == "k" else pairs[site.width].v
        first, last = net.layers[0], net.layers[2]
        hidden = torch.relu(x @ first.weight.T + first.bias)
        return x + strength * (hidden @ last.weight.T + last.bias)

    with plain_formula(unet, formula):
        return run(unet)


def test_the_host_is_known_by_its_callback_after_processing(fake: Fake) -> None:
    assert isinstance(find_host(), SDNext)


def test_a_tag_gives_the_plain_formula_and_the_end_of_the_request_takes_it_away(fake: Fake) -> None:
    p, before = Request(), run(fake.unet)
    fake.activate(p, "ink:0.7")
    torch.testing.assert_close(run(fake.unet), expected(TinyUNet(), 0.7), atol=1e-5, rtol=1e-5)
    fake.done(p)
    assert hooks(fake.unet) == 0
    assert torch.equal(run(fake.unet), before)


def test_the_networks_stay_for_the_detailer_when_the_host_deactivates_them(fake: Fake) -> None:
    p = Request()
    fake.activate(p, "ink:1")
    fake.deactivate(p)
    assert hooks(fake.unet) > 0


def test_the_detailers_own_tags_count_although_the_host_activates_nothing_for_it(fake: Fake) -> None:
    p = Request()
    fake.activate(p)
    fake.detail(p, "a nose <hypernet:ink:1>")
    torch.testing.assert_close(run(fake.unet), expected(TinyUNet(), 1.0), atol=1e-5, rtol=1e-5)
    assert "ink" in p.extra_generation_params["Hypernet hashes"]
    fake.done(p)
    assert hooks(fake.unet) == 0


def test_a_detailers_prompt_without_tags_leaves_those_of_the_main_prompt(fake: Fake) -> None:
    p = Request()
    fake.activate(p, "ink:0.7")
    for prompt, strength in (("a nose", 0.7), ("an ear <hypernet:ink:-1>", -1.0), ("a mouth", 0.7)):
        fake.detail(p, prompt)
        torch.testing.assert_close(run(fake.unet), expected(TinyUNet(), strength), atol=1e-5, rtol=1e-5)


def test_a_request_without_networks_has_none_of_the_one_before_in_its_detailer(fake: Fake) -> None:
    first, second = Request(), Request()
    fake.activate(first, "ink:1")
    fake.detail(first, "an ear <hypernet:ink:-1>")
    fake.done(first)
    fake.detail(second, "a nose")  # with extra networks off, nothing was activated
    assert hooks(fake.unet) == 0


@pytest.fixture
def refiner(fake: Fake) -> TinyUNet:
    unet = TinyUNet(seed=1)
    fake.shared.sd_refiner = SimpleNamespace(unet=unet, scheduler=SimpleNamespace(timesteps=torch.tensor([3, 1])))
    return unet


def test_the_refiner_gets_the_networks_when_its_pass_begins(fake: Fake, refiner: TinyUNet) -> None:
    p, plain = Request(), run(TinyUNet(seed=1))
    fake.activate(p, "ink:1")
    fake.begin_pass(p)
    p.is_refiner_pass = True
    fake.begin_pass(p)
    first, second = run(refiner, 3), run(refiner, 1)
    torch.testing.assert_close(first, expected(TinyUNet(seed=1), 1.0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(second, first)
    assert hooks(fake.unet) == 0
    fake.done(p)
    assert torch.equal(run(refiner), plain)
    assert hooks(refiner) == 0


@pytest.mark.parametrize(("prompt", "strength"), [("a dog <hypernet:ink:0.5>", 0.5), ("a dog", 0.0)])
def test_a_prompt_of_the_refiners_own_has_its_own_tags(
    fake: Fake, refiner: TinyUNet, prompt: str, strength: float
) -> None:
    p = Request()
    p.refiner_prompt, p.is_refiner_pass = prompt, True
    fake.activate(p, "ink:1")
    fake.begin_pass(p)
    torch.testing.assert_close(run(refiner), expected(TinyUNet(seed=1), strength), atol=1e-5, rtol=1e-5)


def test_a_refiner_that_never_ran_is_left_without_a_hook(fake: Fake, refiner: TinyUNet) -> None:
    p = Request()
    fake.activate(p, "ink:1")
    assert hooks(refiner) == 0
    fake.done(p)


def test_the_host_has_its_own_function_back_when_the_extension_goes(fake: Fake) -> None:
    fake.session.host.install(fake.session, fake.session.catalogue)
    fake.session.close()
    assert fake.modules["processing_args"].set_callbacks_p is fake.own


def fuse(fake: Fake) -> None:
    fake.unet.middle_block[1].fused_projections = True


def compile_whole(fake: Fake) -> None:
    fake.shared.sd_model.unet = torch.compile(fake.unet)


def compile_blocks(fake: Fake) -> None:
    if not hasattr(nn.Module, "compile"):
        pytest.skip("this PyTorch compiles no module in place")
    fake.unet.middle_block[1].compile()


def no_unet(fake: Fake) -> None:
    fake.shared.sd_model.unet = None


@pytest.mark.parametrize(
    ("change", "word"),
    [(fuse, "fused"), (compile_whole, "compiled"), (compile_blocks, "compiled"), (no_unet, "no effect")],
)
def test_what_cannot_be_hooked_is_told_in_the_parameters(fake: Fake, change: Callable[[Fake], None], word: str) -> None:
    change(fake)
    p = Request()
    fake.activate(p, "ink:1")
    assert word in p.extra_generation_params[NOTES]
    assert hooks(fake.unet) == 0


def test_the_notes_of_a_run_are_added_to_the_comments_of_its_result(fake: Fake) -> None:
    p, processed = Request(), SimpleNamespace(comments="")
    fake.activate(p, "nothing-of-the-kind:1")
    fake.session.end(p, processed)
    assert "nothing-of-the-kind" in processed.comments


def test_a_quantised_projection_is_not_read() -> None:
    projection = nn.Linear(4, 4)
    assert SDNext().read_weight(projection) is projection.weight
    projection.sdnq_dequantizer = object()
    assert SDNext().read_weight(projection) is None


def test_each_call_of_a_pipeline_is_a_run_of_its_own() -> None:
    pipe = SimpleNamespace(scheduler=SimpleNamespace(timesteps=torch.tensor([9, 5, 1])))
    clock = PassClock(lambda: pipe, lambda: False)
    x = torch.zeros(1)
    assert [clock((x, torch.tensor(t)), {}).step for t in (9, 5, 1)] == [0, 1, 2]
    pipe.scheduler.timesteps = torch.tensor([9, 5, 1])
    assert clock((x, torch.tensor(9)), {}).step == 0


def test_the_page_takes_the_only_title_that_the_host_still_shows(fake: Fake) -> None:
    fake.session.host.show_page(fake.session.catalogue)
    titles = [page.title for page in fake.shared.extra_networks]
    assert titles == ["Lora", "Hypernetwork"]
    (item,) = fake.shared.extra_networks[1].list_items()
    assert json.loads(item["prompt"]) == " <hypernet:ink:1.0>"
    assert item["alias"] == "ink"


def test_a_card_tells_of_a_broken_file_in_its_corner_and_under_the_mouse(fake: Fake, tmp_path: Path) -> None:
    file = tmp_path / "torn.pt"
    file.write_bytes(b"PK\3\4 this is no archive")
    fake.session.catalogue.refresh()
    page = make_page(fake.modules["ui_extra_networks"], fake.session.catalogue)
    (item,) = (item for item in page.list_items() if item["name"] == "torn")
    assert item["version"] == "broken"
    assert "cut short" in item["description"]
    assert page.find_description(item["filename"]) == item["description"]
    assert page.find_description(None) == ""


def test_a_file_name_cannot_write_into_the_page(fake: Fake, tmp_path: Path) -> None:
    save(network(), tmp_path / "<img src=x>.safetensors")
    fake.session.catalogue.refresh()
    page = make_page(fake.modules["ui_extra_networks"], fake.session.catalogue)
    assert all("<img" not in page.create_html(item, "txt2img") for item in page.list_items())


def test_a_card_has_its_names_escaped_once(fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "it's_R&B.safetensors"
    save(network(), path)
    fake.session.catalogue.refresh()
    page = make_page(fake.modules["ui_extra_networks"], fake.session.catalogue)
    (card,) = (page.create_html(item, "txt2img") for item in page.list_items() if item["name"] != "ink")
    assert "title='it&#x27;s_R&amp;B'" in card
    assert "<div>it&#x27;s R&amp;B</div>" in card
    assert "data-short='it&#x27;s_R&amp;B'" in card
    assert f"data-filename='{html.escape(str(path))}'" in card


Part = tuple[str, float, int, int]
"""Of the plain formula: the network's name, its strength, from which UNet call of a request, to before which."""

EVER = 1_000_000


def always(name: str) -> Callable[[float], list[Part]]:
    """The whole request with one network: strength -> parts."""
    return lambda strength: [(name, strength, 0, EVER)]


HARDLY_OTHER = (0.7000001, 0.700001, 0.69999, 0.70001, 0.69998, 0.70002, 0.6999, 0.7001)
"""Strengths as good as 0.7."""


class Real:
    """A running SD.Next."""

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, path: str, body: Any = None, **query: Any) -> Any:
        """The host answers so many calls a minute; with a small model tests are faster than that."""
        while True:
            try:
                return call(f"{self._url}{path}?{urlencode(query)}", body)
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(5)

    def parity(self, **query: Any) -> Any:
        return self.call("/probe/parity", **query)

    def draw(self, prompt: str, mode: str = "txt2img", **more: Any) -> tuple[np.ndarray, str]:
        """The last picture's pixels and what is written below it."""
        body = {"prompt": prompt, "negative_prompt": "dull", "seed": 1, "steps": 3, "width": 64, "height": 64}
        body |= {"cfg_scale": 5.0, "sampler_name": "Euler", "save_images": False, **more}
        answer = self.call(f"/sdapi/v1/{mode}", body)
        info = answer["info"] if isinstance(answer["info"], dict) else json.loads(answer["info"])
        return decode(answer["images"][-1]).astype(int), info["infotexts"][-1]

    def set(self, **options: Any) -> None:
        self.call("/sdapi/v1/options", options)

    def offload(self, mode: str) -> None:
        self.set(diffusers_offload_mode=mode)
        self.call("/sdapi/v1/reload-checkpoint", {}, force=True)

    def state(self) -> dict[str, Any]:
        return self.call("/probe/state")

    def with_formula(self, parts: Sequence[Part], prompt: str = "a cat", **more: Any) -> np.ndarray:
        """A picture for which the host's own attention carries the plain formula."""
        self.call("/probe/formula", parts)
        try:
            return self.draw(prompt, **more)[0]
        finally:
            self.call("/probe/formula", [])

    def check(
        self,
        tagged: dict[str, Any],
        plain: dict[str, Any],
        parts: Callable[[float], Sequence[Part]],
        times: int = 20,
        **request: Any,
    ) -> None:
        """The request with tags of strength 0.7 is the one without, where the parts of that strength are carried.

        times: by how much what the tags do outweighs the difference.
        The host rounds, and a model with random weights amplifies it. Slightly other strengths show by how much.
        """
        without, _ = self.draw(**plain, **request)
        reference = self.with_formula(parts(0.7), **plain, **request)
        ours, _ = self.draw(**tagged, **request)
        difference, most = np.abs(reference - ours).mean(), np.abs(reference - ours).max()
        effect = np.abs(ours - without).mean()
        print(f"difference {difference:.6f} (most {most}), effect {effect:.3f}: {tagged}")
        if difference > 1e-3:
            near = [self.with_formula(parts(s), **plain, **request) for s in HARDLY_OTHER]
            rounding = max(np.abs(picture - reference).mean() for picture in near)
            print(f"the formula differs from itself by {rounding:.6f}")
            assert difference <= 2 * rounding
        assert effect > times * difference
        assert self.state()["hooks"] == 0


@pytest.fixture(scope="module")
def real() -> Real:
    return Real(os.environ["HYPERNET_SDNEXT_URL"])


@pytest.fixture(scope="module")
def names(real: Real) -> list[str]:
    return [found["name"] for found in real.call("/hypernet/v1/networks") if found["metadata"].get("base") == "SD1"]


@pytest.mark.parametrize("kind", ["", "quantised", "sequential"])
def test_the_real_host_gives_the_plain_formula(real: Real, names: list[str], kind: str) -> None:
    for name in names:
        found = real.parity(name=name, strength=0.7, kind=kind)
        assert found["attached"] > 0
        assert found["left"] == 0
        assert found["error"] <= 1e-5 * found["scale"]
        assert found["effect"] > 100 * found["error"]


@pytest.mark.parametrize(("kind", "word"), [("fused", "fused"), ("compiled", "compiled"), ("none", "no effect")])
def test_the_real_host_is_told_what_cannot_be_hooked(real: Real, names: list[str], kind: str, word: str) -> None:
    found = real.parity(name=names[0], kind=kind)
    assert word in found["notes"]
    assert found["hooks"] == 0


HIRES = {
    "enable_hr": True,
    "hr_scale": 2.0,
    "hr_upscaler": "Latent Nearest",
    "hr_force": True,
    "denoising_strength": 0.6,
}


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"batch_size": 2},
        {"cfg_scale": 1.0},
        {"sampler_name": "DDIM"},
        {"sampler_name": "DPM++ 2M"},
        HIRES,
        {"mode": "img2img", "init_images": [noise((64, 64))], "denoising_strength": 0.7},
    ],
    ids=["plain", "batch", "cfg 1", "DDIM", "DPM++", "hires", "img2img"],
)
def test_a_picture_of_the_real_host_is_the_plain_formula_s(
    real: Real, names: list[str], request_: dict[str, Any]
) -> None:
    for name in names:
        real.check({"prompt": f"a cat <hypernet:{name}:0.7>"}, {"prompt": "a cat"}, always(name), **request_)


DETAILER = {
    "detailer_enabled": True,
    "detailer_models": ["hypernet-probe"],
    "detailer_resolution": 64,
    "detailer_steps": 4,
    "detailer_strength": 0.5,
    "steps": 2,
}
DETAILS = 4
"""UNet calls for each of the two things that the probe's detector sees."""


def test_the_real_host_s_detailer_has_the_main_prompt_s_networks(real: Real, names: list[str]) -> None:
    tagged, plain = {"prompt": f"a cat <hypernet:{names[0]}:0.7>"}, {"prompt": "a cat"}
    for own in ({}, {"detailer_prompt": "a dog"}):
        real.check(tagged | own, plain | own, always(names[0]), **DETAILER)


def test_the_real_host_s_detailer_has_the_networks_of_its_own_prompt(real: Real, names: list[str]) -> None:
    first, second = names[:2]
    tagged = {"prompt": "a cat", "detailer_prompt": f"a dog <hypernet:{second}:0.7>"}
    plain = {"prompt": "a cat", "detailer_prompt": "a dog"}
    real.check(tagged, plain, lambda s: [(second, s, 2, EVER)], **DETAILER)
    tagged["prompt"] += f"<hypernet:{first}:0.7>"
    real.check(tagged, plain, lambda s: [(first, s, 0, 2), (second, s, 2, EVER)], **DETAILER)
    _, text = real.draw(**tagged, **DETAILER)
    hashes = text.partition("Hypernet hashes: ")[2]
    assert first in hashes
    assert second in hashes


def test_each_line_of_the_real_host_s_detailer_prompt_has_its_own_networks(real: Real, names: list[str]) -> None:
    first, second = names[:2]
    real.check(
        {"prompt": f"a cat <hypernet:{first}:0.7>", "detailer_prompt": f"an ear <hypernet:{second}:0.7>\na nose"},
        {"prompt": "a cat", "detailer_prompt": "an ear\na nose"},
        lambda s: [(first, s, 0, 2), (second, s, 2, 2 + DETAILS), (first, s, 2 + DETAILS, EVER)],
        **DETAILER,
    )


REFINER = {"enable_hr": True, "hr_upscaler": "None", "refiner_start": 0.5, "refiner_steps": 10, "steps": 2}


@pytest.fixture
def refined(real: Real) -> Iterator[None]:
    name = os.environ.get("HYPERNET_SDNEXT_REFINER")
    if not name:
        pytest.skip("HYPERNET_SDNEXT_REFINER names no checkpoint to refine with")
    real.set(sd_model_refiner=name)
    real.draw("a cat", **REFINER)  # loads it
    assert real.state()["refiner"]
    yield
    real.set(sd_model_refiner="None")


@pytest.mark.usefixtures("refined")
@pytest.mark.parametrize("more", [{}, HIRES, DETAILER], ids=["alone", "after hires", "before the detailer"])
def test_the_real_host_s_refiner_has_the_networks(real: Real, names: list[str], more: dict[str, Any]) -> None:
    for name in names:
        tagged, plain = {"prompt": f"a cat <hypernet:{name}:0.7>"}, {"prompt": "a cat"}
        times = 8 if more is DETAILER else 20  # so many passes round where none else does
        real.check(tagged, plain, always(name), times, **REFINER | more)


@pytest.mark.usefixtures("refined")
@pytest.mark.parametrize("more", [{}, HIRES], ids=["alone", "after hires"])
def test_a_prompt_of_the_real_host_s_refiner_has_its_own_networks(
    real: Real, names: list[str], more: dict[str, Any]
) -> None:
    """The refiner reads the tag as words, too: so the reference is given the same words while the file is away."""
    first, second = names[:2]
    request = {**REFINER, **more, "steps": 2, "refiner_prompt": f"a dog <hypernet:{second}:0.7>"}
    ours, text = real.draw(f"a cat <hypernet:{first}:0.7>", **request)
    assert second in text.partition("Hypernet hashes: ")[2]
    file = Path(next(each["path"] for each in real.call("/hypernet/v1/networks") if each["name"] == second))
    away = file.with_suffix(".away")
    real.call("/probe/formula", [(first, 0.7, 0, 2), (second, 0.7, 2, EVER)])
    file.rename(away)
    try:
        real.call("/hypernet/v1/refresh", {})
        reference, _ = real.draw("a cat", **request)
    finally:
        away.rename(file)
        real.call("/probe/formula", [])
        real.call("/hypernet/v1/refresh", {})
    plain, _ = real.draw("a cat", **{**request, "refiner_prompt": "a dog"})
    print(f"difference {np.abs(ours - reference).mean():.6f}, effect {np.abs(ours - plain).mean():.3f}")
    assert np.abs(ours - reference).mean() < np.abs(ours - plain).mean() / 20
    assert real.state()["hooks"] == 0


@pytest.mark.parametrize("end", ["interrupt", "skip"])
def test_nothing_stays_hooked_when_a_picture_of_the_real_host_is_stopped(
    real: Real, names: list[str], end: str
) -> None:
    before, _ = real.draw("a cat")
    real.call("/probe/formula", [])
    body = {"prompt": f"a cat <hypernet:{names[0]}:0.7>", "steps": 60, "width": 64, "height": 64}
    drawing = threading.Thread(target=real.call, args=("/sdapi/v1/txt2img", body))
    drawing.start()
    while (state := real.state())["calls"] < 3:
        time.sleep(0.05)
    assert state["hooks"] > 0
    real.call(f"/sdapi/v1/{end}", {})
    drawing.join()
    state = real.state()
    assert state["calls"] < 60
    assert state["hooks"] == 0
    assert np.array_equal(real.draw("a cat")[0], before)


@pytest.mark.parametrize("error", ["RuntimeError", "ValueError", "KeyError"])
def test_nothing_stays_hooked_when_the_real_host_s_unet_fails(real: Real, names: list[str], error: str) -> None:
    before, _ = real.draw("a cat")
    real.call("/probe/fail", kind=error)
    try:
        with pytest.raises((IndexError, urllib.error.HTTPError)):  # no picture
            real.draw(f"a cat <hypernet:{names[0]}:0.7>")
    finally:
        real.call("/probe/fail")
    assert real.state()["hooks"] == 0
    assert np.array_equal(real.draw("a cat")[0], before)


@pytest.mark.parametrize("mode", ["model", "sequential", "balanced"])
def test_offloading_changes_nothing_in_the_real_host(real: Real, names: list[str], mode: str) -> None:
    prompt = f"a cat <hypernet:{names[0]}:0.7>"
    real.offload("none")
    expected, plain = real.draw(prompt)[0], real.draw("a cat")[0]
    effect = np.abs(plain - expected).mean()
    try:
        real.offload(mode)
        try:
            offloaded = real.draw("a cat")[0]
        except urllib.error.HTTPError:
            pytest.skip("in this mode the host draws nothing at all here")
        assert np.abs(real.draw(prompt)[0] - expected).mean() < effect / 20
        assert np.abs(offloaded - plain).mean() < effect / 20
    finally:
        real.offload("none")


def test_the_real_host_s_parameters_tell_what_was_used_and_what_did_not_work(real: Real, names: list[str]) -> None:
    _, text = real.draw(f"a cat <hypernet:{names[0]}:0.7><hypernet:t-nosuch:1>")
    assert f'Hypernet hashes: "{names[0]}: ' in text or f"Hypernet hashes: {names[0]}: " in text
    assert "There is no hypernetwork “t-nosuch”" in text
