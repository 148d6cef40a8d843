"""AUTOMATIC1111's own hypernetworks: ours take their place, and leave them reachable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from hypernet.webui.host import Handler, Processing


class NativeEngine:
    """The host's own handler of tags and its list of what is applied."""

    def __init__(self, handler: Any, shared: Any) -> None:
        self._handler, self._shared = handler, shared

    def activate(self, p: Processing, params_list: list[Any]) -> None:
        self._handler.activate(p, params_list)

    def loaded(self) -> Sequence[str]:
        return [str(getattr(each, "name", each)) for each in self._shared.loaded_hypernetworks]

    def clear(self) -> None:
        self._shared.loaded_hypernetworks.clear()


class NativeList:
    """The function by which the host lists its files: what asks it (menus, the API) is told of ours."""

    def __init__(self) -> None:
        self._original: Callable[[str], dict[str, str]] | None = None

    def take_over(self, handler: Handler) -> None:
        module = _module()
        if module is not None and self._original is None:
            self._original = module.list_hypernetworks
            module.list_hypernetworks = lambda path: dict(handler.list_files())

    def release(self) -> None:
        module = _module()
        if module is not None and self._original is not None:
            module.list_hypernetworks, self._original = self._original, None


def _module() -> Any:
    """Where the host has its own; None where it dropped them, or nothing needed them yet."""
    return sys.modules.get("modules.hypernetworks.hypernetwork")
