"""A real WebUI of A1111's dialect as a subprocess, spoken to over its API."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.hosts import nets

REPOSITORY = Path(__file__).parents[2]
PROBE = Path(__file__).parent / "probe"
ARGUMENTS = (
    "--skip-prepare-environment --skip-torch-cuda-test --skip-python-version-check --skip-version-check --api "
    "--disable-console-progressbars --server-name 127.0.0.1 "
)
ON_CPU = {
    "a1111": "--no-download-sd-model --use-cpu all --no-half --no-half-vae",
    "neo": "--cpu --force-fp32",
}
"""What makes a host compute in float32 on a CPU, and download nothing; the others are of Forge's family."""
ON_CPU_FORGE = "--no-download-sd-model --always-cpu --all-in-fp32"
WANT_HIRES_MODULES = ("forge", "neo", "reforge4")
"""Hosts whose API must be told which text encoders and VAE the hires pass uses."""


_TAG = re.compile(r"<hypernet:([^:>]+)(?::([^:>]*))?>")


@dataclass(frozen=True)
class Picture:
    """What a request gave. pixels: (pictures, height, width, 3), uint8."""

    pixels: np.ndarray
    infotext: str
    comments: str


def call(address: str, body: Any = None, method: str | None = None, timeout: float = 900) -> Any:
    """What a host's API answers, None for nothing. body: to send as JSON, with POST unless the method is given."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        content = answer.read()
        return json.loads(content) if content else None


def decode(image: str) -> np.ndarray:
    """An API's picture, base64 with or without a prefix, as (height, width, 3), uint8."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image.rpartition(",")[2]))).convert("RGB"))


def noise(size: tuple[int, int]) -> str:
    """A picture to start from, base64."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


class RealHost:
    """A running host. Its folder of hypernetworks is `folder`."""

    reloads = int(os.environ.get("HYPERNET_RELOADS", "2"))

    def __init__(self, root: Path, kind: str, port: int, folder: Path, log: Path) -> None:
        self.root, self.kind, self.port, self.folder, self.log = root, kind, port, folder, log

    @property
    def native(self) -> bool:
        """Whether it has an engine of its own that works."""
        return self.kind == "a1111"

    def call(self, path: str, body: Any = None, method: str | None = None, timeout: float = 900) -> Any:
        return call(f"http://127.0.0.1:{self.port}{path}", body, method, timeout)

    def draw(self, prompt: str, mode: str = "txt2img", options: dict[str, Any] | None = None, **more: Any) -> Picture:
        """One request; options: settings for it alone."""
        body = {
            "prompt": prompt,
            "negative_prompt": "dull",
            "seed": 1,
            "steps": 2,
            "width": 64,
            "height": 64,
            "cfg_scale": 5.0,
            "sampler_name": "Euler",
            "override_settings": options or {},
            "do_not_save_samples": True,
            "do_not_save_grid": True,
            **(self._hires() if "enable_hr" in more else {}),
            **more,
        }
        answer = self.call(f"/sdapi/v1/{mode}", body)
        info = json.loads(answer["info"])
        count = body.get("batch_size", 1) * body.get("n_iter", 1)
        pixels = np.stack([decode(image) for image in answer["images"][-count:]])
        return Picture(pixels, info["infotexts"][-count], self.call("/probe/comments")["comments"])

    def _hires(self) -> dict[str, Any]:
        """What a request with a hires pass says besides, as far as hosts differ."""
        latent = any(mode["name"] == "Latent" for mode in self.call("/sdapi/v1/latent-upscale-modes"))
        modules = {"hr_additional_modules": ["Use same choices"]} if self.kind in WANT_HIRES_MODULES else {}
        return {"hr_upscaler": "Latent" if latent else "None", **modules}

    def reference(self, prompt: str, options: dict[str, Any] | None = None, **more: Any) -> Picture:
        """What the picture must be: the host's own engine's, or the plain formula's in the host's own attention."""
        if self.native:
            return self.draw(prompt, options={**(options or {}), "hypernet_native": True}, **more)
        with self.formula(prompt, more.get("hr_prompt") or prompt):
            plain = {key: _TAG.sub("", value) if key == "hr_prompt" else value for key, value in more.items()}
            return self.draw(_TAG.sub("", prompt), options=options, **plain)

    @contextmanager
    def formula(self, prompt: str, hires_prompt: str) -> Iterator[None]:
        """The probe's own hooks, as simple as can be, carry what the prompts' tags ask for."""
        self.call("/probe/formula", {"first": self._asked(prompt), "hires": self._asked(hires_prompt)})
        try:
            yield
        finally:
            self.call("/probe/formula", {"first": [], "hires": []})

    def _asked(self, prompt: str) -> list[tuple[str, float]]:
        return [
            (str(next(self.folder.glob(f"{name}.*"))), float(strength or 1)) for name, strength in _TAG.findall(prompt)
        ]

    def set(self, values: dict[str, Any]) -> None:
        self.call("/sdapi/v1/options", values)

    def state(self) -> dict[str, Any]:
        return self.call("/probe/state")

    def fail(self, where: str) -> None:
        self.call(f"/probe/fail?where={where}", {}, "POST")

    def reload(self) -> None:
        self.call("/probe/reload", {}, "POST")
        time.sleep(8)
        _wait(self, time.time() + 300)

    def paste(self, text: str) -> dict[str, Any]:
        return self.call("/probe/paste", {"text": text})

    def only_real(self) -> None:
        """This test asks for what a fake hasn't."""

    def needs_setting(self, name: str) -> None:
        if name not in self.call("/sdapi/v1/options"):
            pytest.skip(f"this host has no setting {name}")

    def known(self, **settings: Any) -> dict[str, Any]:
        """Those of the settings that this host has."""
        own = self.call("/sdapi/v1/options")
        return {name: value for name, value in settings.items() if name in own}

    def script(self, begin: str) -> dict[str, Any]:
        """A request's part that turns on a script of the host's own, with the values its UI begins with."""
        for known in self.call("/sdapi/v1/script-info"):
            if known["name"].startswith(begin) and known["is_alwayson"]:
                values = [True, *(argument["value"] for argument in known["args"][1:])]
                return {"alwayson_scripts": {known["name"]: {"args": values}}}
        pytest.skip(f"this host has no script {begin}")

    def png(self, size: tuple[int, int]) -> str:
        return noise(size)

    def second_model(self) -> str:
        """A checkpoint of the kind of the first one: the first word of its name is the same, but for a 2."""
        titles = [model["title"].partition(" [")[0] for model in self.call("/sdapi/v1/sd-models")]
        now = (self.call("/sdapi/v1/options")["sd_model_checkpoint"] or titles[0]).partition(" [")[0]
        kind = now.split("-")[0].rstrip("2")
        others = [title for title in titles if title != now and title.split("-")[0].rstrip("2") == kind]
        if not others:
            pytest.skip("the host has no second checkpoint named like the first")
        return others[0]

    @contextmanager
    def lora(self, name: str, write: Callable[[Path], None] | None = None) -> Iterator[None]:
        """A LoRA that `write` makes; without it one on the K and V of every cross- and self-attention."""
        file = self.root / "models" / "Lora" / f"{name}.safetensors"
        if write is None:
            nets.write_lora(file, self.state()["shapes"])
        else:
            write(file)
        self.call("/sdapi/v1/refresh-loras", {})
        try:
            yield
        finally:
            file.unlink()
            self.call("/sdapi/v1/refresh-loras", {})

    def checkpoint(self) -> Path:
        """The file of the model it draws with."""
        name = re.search(r"\bModel: ([^,]+)", self.draw("a cat").infotext)
        assert name is not None
        models = self.call("/sdapi/v1/sd-models")
        return next(Path(model["filename"]) for model in models if model["model_name"] == name[1])

    @contextmanager
    def another_checkpoint(self, write: Callable[[Path], None]) -> Iterator[str]:
        """One of the first one's kind that `write` makes; its title, for the setting `sd_model_checkpoint`."""
        first = self.checkpoint()
        made = [first.with_name("t-made.safetensors")]
        write(made[0])
        if first.with_suffix(".yaml").exists():
            made.append(made[0].with_suffix(".yaml"))
            made[1].write_bytes(first.with_suffix(".yaml").read_bytes())
        self.call("/sdapi/v1/refresh-checkpoints", {})
        try:
            yield made[0].name
        finally:
            for file in made:
                file.unlink()
            self.call("/sdapi/v1/refresh-checkpoints", {})

    def tracebacks(self) -> str:
        """The console from each traceback on."""
        text = self.log.read_text(errors="replace")
        return "\n".join(part[:3000] for part in text.split("Traceback (most recent call last)")[1:])

    def cards(self) -> str:
        return self.call("/probe/cards")["html"]


@contextmanager
def running(root: Path, kind: str = "a1111", *more: str) -> Iterator[RealHost]:
    """root: the folder of the host. more: arguments for it."""
    if given := os.environ.get("HYPERNET_HOST_PORT"):  # one that runs already, while tests are being written
        yield RealHost(root, kind, int(given), _folder(root), Path(os.environ["HYPERNET_HOST_LOG"]))
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    links = {root / "extensions" / "hypernet": REPOSITORY, root / "extensions" / "hypernet-probe": PROBE}
    folder = _folder(root)
    made = [link for link in links if not link.exists()]
    for link in made:
        link.symlink_to(links[link], target_is_directory=True)
    log = Path(os.environ.get("HYPERNET_HOST_LOG", folder / "host.log"))
    given = os.environ.get("HYPERNET_HOST_ARGS", "")
    arguments = [*shlex.split(f"{ARGUMENTS} {ON_CPU.get(kind, ON_CPU_FORGE)} {given}"), *more]
    with log.open("w") as output:
        process = subprocess.Popen(
            [python(root), "launch.py", *arguments, "--port", str(port)],
            cwd=root,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    host = RealHost(root, kind, port, folder, log)
    try:
        _wait(host, time.time() + 600, process)
        host.draw("warm")  # loads the model
        yield host
    finally:
        process.terminate()
        process.wait(60)
        for link in made:
            link.unlink()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _folder(root: Path) -> Path:
    """For the tests' networks; what a killed run left there goes."""
    folder = root / "models" / "hypernetworks" / "hypernet-tests"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def python(root: Path) -> str:
    given = os.environ.get("HYPERNET_HOST_PYTHON")
    beside = [root / "venv", root.parent / f"venv-{root.name}"]
    found = [venv / "bin" / "python" for venv in beside if (venv / "bin" / "python").exists()]
    return given or str(found[0])


def _wait(host: RealHost, until: float, process: subprocess.Popen[bytes] | None = None) -> None:
    while time.time() < until:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the host ended ({process.returncode}):\n{host.log.read_text()[-3000:]}")
        try:
            host.state()
            return
        except (OSError, ValueError):  # not there yet, or not ready
            time.sleep(1)
    raise TimeoutError(f"the host did not start:\n{host.log.read_text()[-3000:]}")
