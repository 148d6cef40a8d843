"""The Tools page: what its tools write and tell, and what it shows of Civitai."""

from __future__ import annotations

import hashlib
import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

import hypernet
from hypernet.errors import HypernetError
from hypernet.webui import found
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.tools import EXACT, LORA, Told, Tools, told
from tests.unets import TinyUNet, network

PREFIX = "model.diffusion_model."


class Around:
    """The part of a host that the tools ask."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.listed = folder, 0
        for name in ("hypernetworks", "Stable-diffusion"):
            (folder / name).mkdir()
        unet = {PREFIX + name: tensor for name, tensor in TinyUNet().state_dict().items()}
        save_file(unet, str(folder / "Stable-diffusion" / "model.safetensors"))

    def model_dirs(self) -> Sequence[Path]:
        return (self.folder / "hypernetworks",)

    def cache_dir(self) -> Path | None:
        return None

    def may_hash(self) -> bool:
        return True

    def option(self, key: str, default: Any) -> Any:
        return default

    def publish(self, files: Mapping[str, str]) -> None:
        self.published = dict(files)

    def model_base(self) -> str:
        return "unknown"

    def checkpoints(self) -> Mapping[str, Path]:
        return {path.name: path for path in (self.folder / "Stable-diffusion").iterdir()}

    def checkpoints_changed(self) -> None:
        self.listed += 1

    def lora_dir(self) -> Path:
        return self.folder / "Lora"


@pytest.fixture
def host(tmp_path: Path) -> Around:
    return Around(tmp_path)


@pytest.fixture
def catalogue(host: Around) -> Catalogue:
    return Catalogue(host)


@pytest.fixture
def tools(host: Around, catalogue: Catalogue) -> Tools:
    (folder,) = host.model_dirs()
    for seed, name in enumerate(("ink", "water")):
        hypernet.save(network(seed), folder / f"{name}.pt")
    hypernet.save(network(2, "relu"), folder / "relu.pt")
    hypernet.save(network(3, "layer_norm"), folder / "norm.pt")
    return Tools(host, catalogue)  # type: ignore[arg-type]


def nothing(done: float, doing: str) -> None:
    pass


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_chain_of_linear_networks_is_told_to_be_exact_and_is_in_the_catalogue_at_once(
    tools: Tools, catalogue: Catalogue, host: Around
) -> None:
    lines = tools.merge("<hypernet:ink:0.7> <hypernet:water:0.4:k=0>", "chain", False, None, "both", nothing)
    assert lines[0].startswith("Exact")
    assert "both" in catalogue.names() and "both" in host.published
    one, two = (hypernet.load(host.model_dirs()[0] / f"{name}.pt") for name in ("ink", "water"))
    x = torch.randn(1, 3, 16)
    made = hypernet.load(host.model_dirs()[0] / "both.safetensors").pairs[16]
    assert torch.allclose(made.k(x, 1), one.pairs[16].k(x, 0.7), atol=1e-5)
    assert torch.allclose(made.v(x, 1), two.pairs[16].v(one.pairs[16].v(x, 0.7), 0.4), atol=1e-5)


@pytest.mark.parametrize("way", ["sum", "mean"])
def test_what_is_no_chain_says_so_and_how_to_measure_it(way: str, tools: Tools) -> None:
    lines = tools.merge("<hypernet:ink:0.7><hypernet:water:0.4>", way, False, None, "", nothing)
    assert any("not measured" in line for line in lines) and any("choose one to measure on" in line for line in lines)
    assert "ink + water.safetensors" in lines[-1]


def test_the_distance_from_the_chain_is_told_when_it_is_measured(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    from hypernet.convert.contexts import Rows

    rows = {f"at {width}": Rows(torch.randn(9, width), torch.randn(9, width)) for width in (16, 24)}
    monkeypatch.setattr(tools, "_contexts", lambda *_: rows)
    lines = tools.merge("<hypernet:ink:0.7><hypernet:water:0.4>", "sum", False, "model.safetensors", "", nothing)
    assert any("off the chain by" in line and "Width 16, K" in line for line in lines)


def test_no_file_is_ever_replaced_or_changed(tools: Tools, tmp_path: Path) -> None:
    before = digests(tmp_path)
    for work in (
        lambda: tools.merge("<hypernet:ink>", "chain", False, None, "water", nothing),
        lambda: tools.reduce("ink", 1, True, "", False, "water.safetensors", nothing),
        lambda: tools.bake("model.safetensors", "<hypernet:ink>", "model", nothing),
    ):
        with pytest.raises(HypernetError, match="is there already"):
            work()
    assert digests(tmp_path) == before
    tools.bake("model.safetensors", "<hypernet:ink:0.5>", "", nothing)
    tools.lora(True, "model.safetensors", "<hypernet:ink>", LORA, 0.99, False, "", nothing)
    tools.reduce("ink", 1, True, "16", False, "", nothing)
    tools.convert(tools.folders()[0], nothing)
    assert before.items() <= digests(tmp_path).items()


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "con", "<b>", " "])
def test_a_name_leads_nowhere_else(name: str, tools: Tools, tmp_path: Path) -> None:
    before = digests(tmp_path)
    with pytest.raises(HypernetError):
        tools.merge("<hypernet:ink>", "chain", False, None, name, nothing)
    assert digests(tmp_path) == before


def test_a_baked_checkpoint_lies_beside_the_original_and_the_host_lists_it(tools: Tools, host: Around) -> None:
    lines = tools.bake("model.safetensors", "<hypernet:ink:0.5>", "", nothing)
    assert host.listed == 1 and "model + ink.safetensors" in tools.checkpoints()
    assert "Written: model + ink.safetensors" in lines[-1]


def test_the_error_of_a_lora_is_told_without_writing_it(tools: Tools, host: Around) -> None:
    lines = tools.lora(False, "model.safetensors", "<hypernet:ink>", LORA, 0.9, False, "", nothing)
    assert lines[0].startswith("Lost of the change: ") and lines[-1] == "Nothing was written."
    assert not host.lora_dir().exists()


def test_a_lora_over_the_limit_is_written_only_when_told(tools: Tools, host: Around) -> None:
    arguments = ("model.safetensors", "<hypernet:ink>", LORA, 0.5)
    lines = tools.lora(True, *arguments, False, "x", nothing)
    assert "over the limit" in lines[-1] and not host.lora_dir().exists()
    tools.lora(True, *arguments, True, "x", nothing)
    assert (host.lora_dir() / "x.safetensors").is_file()


def test_the_exact_kind_holds_the_whole_differences(tools: Tools, host: Around) -> None:
    tools.lora(True, "model.safetensors", "<hypernet:ink:0.7>", EXACT, 0.99, False, "full", nothing)
    assert any(key.endswith("to_v.diff") for key in load_file(str(host.lora_dir() / "full.safetensors")))


def test_a_network_with_an_activation_needs_pictures_and_says_where_they_can_be_drawn(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernet.webui.tools.find_spec", lambda name: None)
    with pytest.raises(HypernetError, match="command line"):
        tools.lora(True, "model.safetensors", "<hypernet:relu>", LORA, 0.99, False, "", nothing)


def test_a_reduced_network_tells_what_it_lost_and_is_not_written_over_the_limit(tools: Tools, host: Around) -> None:
    lines = tools.reduce("ink", 0.6, False, "", False, "", nothing)
    assert "over the limit" in lines[-1]
    lines = tools.reduce("ink", 1, True, "16", False, "", nothing)
    made = hypernet.load(host.model_dirs()[0] / "ink small.safetensors")
    assert made.widths == (16,) and "Written: ink small.safetensors" in lines[-1]


def test_a_folder_shows_doubles_and_what_cant_be_used_and_why(tools: Tools) -> None:
    folder = Path(tools.folders()[0])
    (folder / "again.pt").write_bytes((folder / "ink.pt").read_bytes())
    (folder / "broken.pt").write_bytes(b"junk")
    lines = tools.survey(str(folder), nothing)
    assert lines[0].startswith("5 of 6 files can be used")
    assert "The same file: again.pt = ink.pt." in lines
    assert any(line.startswith("broken.pt can't be used: ") for line in lines)


def test_converting_a_folder_goes_on_past_a_broken_file(tools: Tools) -> None:
    folder = Path(tools.folders()[0])
    (folder / "broken.pt").write_bytes(b"junk")
    lines = tools.convert(str(folder), nothing)
    assert lines[0].startswith("4 of 5 files converted")
    assert any(line.startswith("broken.pt can't be converted: ") for line in lines)


def test_only_folders_and_checkpoints_that_the_host_lists_are_opened(tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(HypernetError):
        tools.survey(str(tmp_path), nothing)
    with pytest.raises(HypernetError):
        tools.bake(str(tmp_path / "Stable-diffusion" / "model.safetensors"), "<hypernet:ink>", "", nothing)


@pytest.mark.parametrize("tags", ["", "ink", "<hypernet:ink:0.7> and more", "<hypernet:nobody>", "<hypernet:ink:x=1>"])
def test_tags_that_mean_nothing_are_answered_in_a_sentence(tags: str, tools: Tools) -> None:
    (line,) = told(lambda: tools.merge(tags, "chain", False, None, "", nothing))
    assert line.endswith(".") or "?" in line


def test_progress_goes_from_nothing_to_all(tools: Tools) -> None:
    seen: list[float] = []
    tools.merge("<hypernet:ink><hypernet:water>", "chain", False, None, "", lambda done, doing: seen.append(done))
    assert seen == sorted(seen) and seen[-1] == 1


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), ZeroDivisionError(), HypernetError("No.")]
)
def test_no_failure_reaches_the_host(error: BaseException) -> None:
    def work() -> Told:
        raise error

    (line,) = told(work)
    assert line


MODEL = {
    "id": 4,
    "name": "<img src=x onerror=fire()>",
    "creator": '"><script>',
    "downloads": 12,
    "preview": "https://example.com/x.png",
    "description": "\"onmouseover='fire()'",
    "versions": [{"base": "SD 1.5", "words": ["<b>"], "files": [{"size": 1 << 20}]}],
}


def test_what_others_wrote_is_shown_as_text_and_pictures_come_from_our_own_route() -> None:
    html = found.gallery(found.cards([MODEL], "here"))
    assert "<img src=x" not in html and "<script>" not in html and "<b><b>" not in html and '"onmouseover' not in html
    assert 'src="./here/4"' in html and "example.com" not in html
    assert "<i>" not in found.sentences(["<i>"])


STATE = {"doing": "Downloading", "done": 0, "total": None, "unit": "bytes", "error": None, "got": None, "looked": None}


def test_progress_of_a_download_is_a_bar_with_sizes() -> None:
    html = found.progress({**STATE, "done": 1 << 20, "total": 4 << 20})
    assert "1.0 MB of 4.0 MB" in html and f'value="{1 << 20}"' in html
    assert "<progress></progress>" in found.progress(STATE)


def test_a_failed_download_says_why() -> None:
    assert found.result({**STATE, "error": "Gone."}) == ["Gone."]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the page, with as much of gradio as it is imported with."""
    monkeypatch.setitem(sys.modules, "gradio", types.SimpleNamespace(Progress=lambda: None))  # whatever ran before
    monkeypatch.delitem(sys.modules, "hypernet.webui.tools_tab", raising=False)
    return importlib.import_module("hypernet.webui.tools_tab")


def test_the_tag_that_add_writes_is_what_the_tools_read(page: Any, tools: Tools) -> None:
    text = page._added(page._added("", "ink", 0.7, 1, 0.5), "water", 1, 1, 1)
    assert text == "<hypernet:ink:0.7:v=0.5> <hypernet:water:1>"
    assert [part.path.stem for part in tools.parts(text)] == ["ink", "water"]


def test_a_page_that_cant_be_made_is_left_out(page: Any, host: Around, catalogue: Catalogue, monkeypatch: Any) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(page, "_Page", fails)
    assert page.tools_tab(host, catalogue) == []


def refused() -> None:
    raise HTTPException(401)


@pytest.mark.parametrize(("guards", "status"), [([Depends(refused)], 401), ([], 400)])
def test_previews_for_the_page_are_guarded_as_the_page_and_only_shown_ones_are_asked_for(
    guards: list[Any], status: int, catalogue: Catalogue
) -> None:
    pytest.importorskip("requests")
    from hypernet.webui.civitai_routes import PAGE_PREVIEW, add_preview_route

    app = FastAPI()
    add_preview_route(app, catalogue, guards)
    assert TestClient(app).get(f"/{PAGE_PREVIEW}/4").status_code == status


def test_nothing_that_changes_anything_is_open_to_the_page_alone(catalogue: Catalogue) -> None:
    pytest.importorskip("requests")
    from hypernet.webui.civitai_routes import add_preview_route

    app = FastAPI()
    before = len(app.routes)
    add_preview_route(app, catalogue, [])
    assert [route.methods for route in app.routes[before:]] == [{"GET"}]  # type: ignore[attr-defined]


def test_the_page_and_the_routes_share_one_backend(catalogue: Catalogue) -> None:
    pytest.importorskip("requests")
    from hypernet.webui.civitai_routes import the_backend

    assert the_backend(catalogue) is the_backend(catalogue)
