"""The Hypernetwork tab of SD.Next, whose pages list dicts and draw them by themselves."""

from __future__ import annotations

import html
import json
from datetime import datetime
from typing import Any

from hypernet.errors import HypernetError, carried
from hypernet.library import Entry
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.facts import facts, line, summary

TITLE = "Hypernetwork"
"""The host shows no page of another title: this one it still knows."""


def make_page(ui_extra_networks: Any, catalogue: Catalogue) -> Any:
    """ui_extra_networks: the host's module, whose classes a UI reload replaces."""
    base = ui_extra_networks.ExtraNetworksPage

    class HypernetworkPage(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(TITLE)

        def refresh(self) -> None:
            catalogue.refresh()

        def list_items(self) -> list[dict[str, Any]]:
            catalogue.publish()
            items = [self._item(entry) for entry in catalogue.entries()]
            self.update_all_previews(items)
            return items

        def allowed_directories_for_previews(self) -> list[str]:
            return [str(folder) for folder in catalogue.library.folders]

        def find_description(self, path: str | None, info: Any = None) -> str:
            """What the user wrote, or else what the file itself says; the host asks for it under the mouse, too."""
            written: str = super().find_description(path, info)
            found = (entry for entry in catalogue.entries() if entry.shown_path == path)
            return written or next(map(_told, found), "")

        def create_html(self, item: dict[str, Any], tabname: str) -> Any:
            """The host writes some of these into the page as they are."""
            safe = {
                key: html.escape(item[key]) for key in ("name", "filename", "version", "search_term", "description")
            }
            return super().create_html({**item, **safe}, tabname)

        def _item(self, entry: Entry) -> dict[str, Any]:
            path = entry.shown_path
            digest = catalogue.library.sha256_if_known(entry)
            info = self.find_info(path)
            return {
                "type": TITLE,
                "name": entry.name,
                "alias": carried(entry.path.stem),
                "filename": path,
                "hash": digest[:10] if digest else None,
                "prompt": json.dumps(f" <hypernet:{entry.name}:{catalogue.strength}>"),
                "metadata": json.dumps(facts(entry), indent=4),
                "mtime": datetime.fromtimestamp(entry.stamp.mtime_ns / 1e9),
                "size": entry.stamp.size,
                "version": _base(entry),
                "info": info,
                "description": super().find_description(path, info) or _told(entry),
                "tags": {},
                "search_term": f"{entry.name} {digest or ''} {line(entry)}",
            }

    return HypernetworkPage()


def _told(entry: Entry) -> str:
    """What the file itself says: what it is, or why it can't be used."""
    return facts(entry).get("problem") or line(entry)


def _base(entry: Entry) -> str:
    """What stands in a card's corner; the host makes a filter of each."""
    found = summary(entry)
    if isinstance(found, HypernetError):
        return "broken"
    return "" if found.base == "unknown" else found.base
