"""The fake A1111 in this process, with the methods of a real one. It skips a test that asks for what it can't show."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.hosts.real import PROBE, REPOSITORY, Picture
from tests.unets import Attention, Block, TinyUNet

FAKE = Path(__file__).parent / "fake"
DRAWN = {
    *(
        "seed",
        "steps",
        "batch_size",
        "n_iter",
        "cfg_scale",
        "init_images",
        "denoising_strength",
        "enable_hr",
        "hr_scale",
    ),
    *("hr_prompt", "refiner_checkpoint", "refiner_switch_at"),
}
"""What in a request changes the fake's picture. Its hires pass is always twice as large."""

SCRIPTS = (
    FAKE / "scripts" / "xyz_grid.py",
    REPOSITORY / "scripts" / "hypernetworks.py",
    PROBE / "scripts" / "hypernet_probe.py",
)


class FakeHost:
    reloads = 10
    native = True

    def __init__(self, folder: Path) -> None:
        from modules import paths, shared

        paths.models_path = paths.data_path = str(folder)
        self.folder = folder / "hypernetworks"
        self.folder.mkdir()
        shared.cmd_opts.hypernetwork_dir = str(self.folder)
        shared.models = {name: _model(seed) for seed, name in enumerate(("first", "second"))}
        shared.sd_model = shared.models["first"]
        self.console = io.StringIO()
        self.start()

    def start(self) -> None:
        """Starts the parts in the host's order, as it does at its start and when its UI reloads."""
        from modules import extra_networks, script_callbacks, scripts, shared, ui_extra_networks

        scripts.load_scripts(SCRIPTS)
        shared.reload_hypernetworks()
        ui_extra_networks.extra_pages[:] = [ui_extra_networks.ExtraNetworksPage("Hypernetworks")]
        extra_networks.initialize()
        script_callbacks.call("before_ui")
        self.app = _App()
        self.app.add_api_route("/sdapi/v1/options", lambda: dict(shared.opts.data))
        self.app.add_api_route("/sdapi/v1/hypernetworks", _native_list)
        script_callbacks.call("app_started", None, self.app)

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        return json.loads(json.dumps(self.app.call(path, body)))

    def draw(self, prompt: str, mode: str = "txt2img", options: dict[str, Any] | None = None, **more: Any) -> Picture:
        from modules import processing

        self._only_known("draws without", more.keys() - DRAWN)
        self._only_known("has no setting", (options or {}).keys() - _settings().keys())
        p = processing.Processing(prompt=prompt, override_settings=options or {}, **more)
        try:
            with contextlib.closing(p), contextlib.redirect_stderr(self.console):
                made = processing.process_images(p)
        except Exception as error:
            raise urllib.error.HTTPError("", 500, str(error), None, None) from error  # type: ignore[arg-type]
        return Picture(np.stack(made.images), made.infotexts[0], made.comments)

    def reference(self, prompt: str, options: dict[str, Any] | None = None, **more: Any) -> Picture:
        return self.draw(prompt, options={**(options or {}), "hypernet_native": True}, **more)

    def set(self, values: dict[str, Any]) -> None:
        self._only_known("has no setting", values.keys() - _settings().keys())
        _settings().update(values)

    def state(self) -> dict[str, Any]:
        return self.call("/probe/state")

    def fail(self, where: str) -> None:
        self.call(f"/probe/fail?where={where}", {})

    def reload(self) -> None:
        from modules import script_callbacks

        script_callbacks.call("script_unloaded")
        self.start()

    def paste(self, text: str) -> dict[str, Any]:
        return self.call("/probe/paste", {"text": text})

    def cards(self) -> str:
        return self.call("/probe/cards")["html"]

    def only_real(self) -> None:
        pytest.skip("the fake host has none of these")

    def needs_setting(self, name: str) -> None:
        self._only_known("has no setting", {name} - _settings().keys())

    def known(self, **settings: Any) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name in _settings()}

    def _only_known(self, lack: str, names: set[str]) -> None:
        """Skips the test if there are any names: what the fake ignores would pass untested."""
        if names:
            pytest.skip(f"the fake host {lack} {', '.join(sorted(names))}")

    def png(self, size: tuple[int, int]) -> str:
        return "any"

    def second_model(self) -> str:
        return "second"

    @contextmanager
    def lora(self, name: str, write: Callable[[Path], None] | None = None) -> Iterator[None]:
        pytest.skip("the fake host has no LoRA")
        yield

    def checkpoint(self) -> Path:
        pytest.skip("the fake host has no checkpoint")

    def tracebacks(self) -> str:
        _, *after = self.console.getvalue().replace(f"{REPOSITORY}{os.sep}", "").split("Traceback")
        return "".join(after)


@contextmanager
def fake_host(folder: Path) -> Iterator[FakeHost]:
    """Its `modules` exist and the session is new for the time of the block."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("modules", "hypernet")}
    more = [str(FAKE), *([str(FAKE / "stubs")] if not find_spec("gradio") or not find_spec("fastapi") else [])]
    sys.path[:0] = more
    from hypernet.webui import wiring

    session, wiring._session = wiring._session, None
    try:
        yield FakeHost(folder)
    finally:
        if wiring._session is not None:
            wiring._session.close()
        wiring._session = session
        sys.path[:] = [path for path in sys.path if path not in more]
        for name in list(sys.modules):
            if name.split(".")[0] == "modules" and name not in before:
                del sys.modules[name]


class _App:
    """A real FastAPI, asked without a network."""

    def __init__(self) -> None:
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        self._api = FastAPI()
        self._client = TestClient(self._api, raise_server_exceptions=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def call(self, address: str, body: Any) -> Any:
        answer = self._client.get(address) if body is None else self._client.post(address, json=body)
        if answer.status_code >= 400:
            raise urllib.error.HTTPError(address, answer.status_code, answer.text, None, None)  # type: ignore[arg-type]
        return answer.json()


def _settings() -> dict[str, Any]:
    """Every setting of the fake and of the extension, with its value. Changes to it change the setting."""
    from modules import shared

    for name, info in shared.opts.data_labels.items():
        shared.opts.data.setdefault(name, info.default)
    values: dict[str, Any] = shared.opts.data
    return values


def _native_list() -> list[dict[str, str]]:
    from modules import shared

    return [{"name": name, "path": path} for name, path in shared.hypernetworks.items()]


class _Attention(Attention):
    """Asks the native engine, as A1111's does."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        from modules.hypernetworks import hypernetwork

        k, v = hypernetwork.apply(x if context is None else context)
        q, k, v = self.to_q(x), self.to_k(k), self.to_v(v)
        return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v


def _model(seed: int) -> Any:
    """A checkpoint for text of SD1's width."""
    unet = TinyUNet(seed)
    for block in unet.modules():
        if isinstance(block, Block):
            width = block.attn1.to_q.in_features
            block.attn1, block.attn2 = _Attention(width, None), _Attention(width, 768)
    return SimpleNamespace(model=SimpleNamespace(diffusion_model=unet.eval()))
