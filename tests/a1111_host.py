"""Runs A1111's own loader and hypernetwork code, without the rest of the WebUI, in a process of its own.

    python a1111_host.py WEBUI JOBS ANSWERS

JOBS: what torch.save wrote of {"x": (batch, tokens, width), "paths": [...]}; ANSWERS: path -> (K's context, V's).
What the WebUI's two files import besides PyTorch is replaced by empty stand-ins.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import torch

REAL = ("modules.safe", "modules.hypernetworks.hypernetwork")


class StandIn(types.ModuleType):
    """A module from which anything can be imported, and nothing works."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return types.SimpleNamespace(__name__=name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the two real files of the WebUI, and stand-ins for everything else that is not installed."""

    def __init__(self, webui: Path) -> None:
        self.webui = webui

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name in REAL:
            return importlib.util.spec_from_file_location(name, self.webui / f"{name.replace('.', '/')}.py")
        if name.split(".")[0] in ("modules", "ldm", "einops", "tqdm"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def main(webui: str, jobs: str, answers: str) -> None:
    work = torch.load(jobs, weights_only=True)
    load, save = torch.load, torch.save
    sys.meta_path.insert(0, Finder(Path(webui)))
    import modules.devices
    import modules.errors
    import modules.hashes
    import modules.shared

    modules.shared.cmd_opts = types.SimpleNamespace(disable_safe_unpickle=False)
    modules.shared.opts = types.SimpleNamespace(print_hypernet_extra=False)
    modules.devices.device = torch.device("cpu")
    modules.devices.torch_npu_set_device = lambda: None
    modules.hashes.sha256 = lambda *_: "0" * 64
    modules.errors.report = lambda message, **_: print(message, file=sys.stderr)
    import modules.safe
    from modules.hypernetworks.hypernetwork import Hypernetwork

    assert torch.load is modules.safe.load is not load, "the WebUI's safe loader is in place"
    results = {}
    for path in work["paths"]:
        network = Hypernetwork()
        network.load(path)
        k, v = network.layers[work["x"].shape[-1]]
        results[path] = (k(work["x"]), v(work["x"]))
    save(results, answers)


if __name__ == "__main__":
    with torch.no_grad():
        main(*sys.argv[1:])
