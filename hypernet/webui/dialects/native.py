"""AUTOMATIC1111's own hypernetworks: ours take their place, and leave them reachable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from hypernet.webui.catalogue import Catalogue
from hypernet.webui.host import Processing


class NativeEngine:
    """The host's own handler of tags and its list of what is applied."""

    def __init__(self, handler: Any, shared: Any) -> None:
        self._handler, self._shared = handler, shared

    def activate(self, p: Processing, params_list: list[Any]) -> None:
        """Makes the host apply these tags by itself."""
        self._handler.activate(p, params_list)

    def loaded(self) -> Sequence[str]:
        """Names of what the host applies by itself at this moment."""
        return [str(getattr(each, "name", each)) for each in self._shared.loaded_hypernetworks]

    def clear(self) -> None:
        """Makes the host apply none."""
        self._shared.loaded_hypernetworks.clear()


class NativeList:
    """The function by which the host lists its files: what asks it (menus, the API) gets ours."""

    def __init__(self) -> None:
        self._original: Callable[[str], dict[str, str]] | None = None

    def replace(self, catalogue: Catalogue) -> None:
        """Lists the catalogue's files from now on."""
        module = _module()
        if module is not None and self._original is None:
            self._original = module.list_hypernetworks
            module.list_hypernetworks = lambda path: _refreshed(catalogue)

    def restore(self) -> None:
        """Gives the host its own function back."""
        module = _module()
        if module is not None and self._original is not None:
            module.list_hypernetworks, self._original = self._original, None


def _module() -> Any:
    """Where the host has its own; None where it dropped them, or nothing needed them yet."""
    return sys.modules.get("modules.hypernetworks.hypernetwork")


def _refreshed(catalogue: Catalogue) -> dict[str, str]:
    """Name -> path, the folders listed anew."""
    catalogue.refresh()
    return catalogue.files()
