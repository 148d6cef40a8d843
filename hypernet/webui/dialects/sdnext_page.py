"""The Hypernetwork tab of SD.Next, whose pages list dicts and draw them by themselves."""

from __future__ import annotations

import html
import json
from datetime import datetime
from pathlib import PurePath
from typing import Any

from hypernet.library import Entry
from hypernet.text import json_safe
from hypernet.webui.cards import Cards
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.facts import line

TITLE = "Hypernetwork"
"""The host shows no page of another title: this one it still knows."""

_NAME, _PATH = "\ue000", "\ue001"
"""What no file's name has in it."""


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
            cards = Cards(catalogue)
            return [self._item(entry, cards) for entry in catalogue.entries()]

        def allowed_directories_for_previews(self) -> list[str]:
            return [str(folder) for folder in catalogue.library.folders]

        def find_description(self, path: str | None, info: Any = None) -> str:
            """What the user wrote, or else what the file itself says; the host asks for it under the mouse, too."""
            written: str = super().find_description(path, info)
            found = (entry for entry in catalogue.entries() if entry.shown_path == path)
            return written or next((line(catalogue.facts(entry), entry.stamp.size) for entry in found), "")

        def create_html(self, item: dict[str, Any], tabname: str) -> Any:
            """The host writes name and path twice each, escaped and as they are: it gets marks for them."""
            safe = {key: html.escape(item[key]) for key in ("version", "search_term", "description")}
            made = super().create_html({**item, **safe, "name": _NAME, "filename": _PATH}, tabname)
            return _with_names(made, item["name"], item["filename"]) if isinstance(made, str) else made

        def _item(self, entry: Entry, cards: Cards) -> dict[str, Any]:
            path = entry.shown_path
            told, info = catalogue.facts(entry), self.find_info(path)
            shown = cards.card(entry)
            digest, found = shown["hash"], shown["words"]
            return {
                "type": TITLE,
                "name": entry.name,
                "alias": json_safe(entry.path.stem),
                "filename": path,
                "hash": digest[:10] if digest else None,
                "prompt": json.dumps(f" <hypernet:{entry.name}:{shown['strength']}>"),
                "metadata": json.dumps(told, indent=4),
                "mtime": datetime.fromtimestamp(entry.stamp.mtime_ns // 10**9),
                "size": entry.stamp.size,
                "version": "broken" if "problem" in told else "" if shown["base"] == "unknown" else shown["base"],
                "info": info,
                "description": super().find_description(path, info) or line(told, entry.stamp.size),
                "preview": shown["preview"],
                "tags": {html.escape(word): 0 for word in (*found, *shown["tags"])},
                "search_term": " ".join([entry.name, digest or "", line(told, entry.stamp.size), *found]),
            }

    return HypernetworkPage()


def _with_names(made: str, name: str, path: str) -> str:
    """A card with the real texts, escaped once, in the place of the marks."""
    shown, stem = PurePath(name.replace("_", " ")).name, PurePath(path).stem
    for mark, text in (
        (f">{_NAME}", f">{html.escape(shown)}"),
        (f"data-short='{_PATH}'", f"data-short='{html.escape(stem)}'"),
        (_NAME, html.escape(name)),
        (_PATH, html.escape(path)),
    ):
        made = made.replace(mark, text)
    return made
