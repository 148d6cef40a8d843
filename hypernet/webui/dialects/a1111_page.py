"""The Hypernetworks tab: a page of the host's own kind. What needs the files opened is written by our scripts later."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hypernet.library import Entry
from hypernet.webui.cards import Cards
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.dialects.a1111_editor import make_editor

_FILE_LIKE_FOLDER = re.compile(r"<button[^<>]*>([^<>]*\.(?:pt|safetensors)/?\s*)</button>", re.IGNORECASE)


def make_page(ui_extra_networks: Any, catalogue: Catalogue) -> Any:
    """The page for A1111's dialect. ui_extra_networks: the host's module, whose classes a UI reload may replace."""
    base = ui_extra_networks.ExtraNetworksPage
    quote_js = ui_extra_networks.quote_js

    class HypernetworksPage(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__("Hypernetworks")

        def refresh(self) -> None:
            catalogue.refresh()

        def list_items(self) -> Any:
            catalogue.publish()
            cards = Cards(catalogue)
            for index, entry in enumerate(catalogue.entries()):
                yield self._item(entry, index, cards)

        def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> Any:
            entry = catalogue.find(name)
            return None if entry is None else self._item(entry, index, Cards(catalogue))

        def allowed_directories_for_previews(self) -> list[str]:
            return [str(folder) for folder in catalogue.library.folders]

        def _item(self, entry: Entry, index: int | None, cards: Cards) -> dict[str, Any]:
            path = entry.shown_path
            stem = path[: -len(entry.path.suffix)]
            library = cards.library
            digest, user = library.sha256_if_known(entry), library.user_metadata(entry)
            description = user.description or library.description(entry) or ""
            told = catalogue.facts_if_known(entry)
            own_strength = catalogue.settings.strength
            terms = [html.escape(term) for term in (self.search_terms_from_path(path), digest) if term]
            return {
                "name": entry.name,
                "filename": path,
                "shorthash": digest[:10] if digest else None,
                "preview": cards.preview_url(entry),
                "description": description,
                "user_metadata": {"description": description, "notes": user.notes},
                "search_terms": terms,
                "search_term": " ".join(terms),  # before 1.8
                "prompt": _prompt(entry.name, user.preferred_weight or own_strength, cards.words(entry), quote_js),
                "negative_prompt": quote_js(f"({user.negative_text}:1)" if user.negative_text else ""),
                "local_preview": f"{stem}.preview.{catalogue.option('samples_format', 'png')}",
                "metadata": {"file": path} if told is None else _printable(told),
                "sort_keys": {"default": index, **self.get_sort_keys(path), "path": path.casefold()},
            }

        def create_item_html(self, tabname: str, item: dict[str, Any], template: str | None = None) -> Any:
            return super().create_item_html(tabname, {**item, "filename": html.escape(item["filename"])}, template)

        def create_dirs_view_html(self, tabname: str) -> Any:
            made = super().create_dirs_view_html(tabname)
            return _FILE_LIKE_FOLDER.sub(self._folder_button, made) if isinstance(made, str) else made

        def _folder_button(self, button: re.Match[str]) -> str:
            """A folder called like a file stays only if there are files in it."""
            place = html.unescape(button[1]).strip().rstrip("/") + "/"
            return button[0] if any(entry.relative.startswith(place) for entry in catalogue.entries()) else ""

        def create_user_metadata_editor(self, ui: Any, tabname: str) -> Any:
            return make_editor(ui_extra_networks, catalogue, ui, tabname, self)

    return HypernetworksPage()


def _prompt(name: str, strength: float, words: Sequence[str], quote_js: Any) -> str:
    """What the host's own click adds, as a JavaScript expression. strength: 0 for the host's usual one."""
    usual = "opts.extra_networks_default_multiplier"
    text = " ".join([">", ", ".join(words)]).strip()
    return f"{quote_js(f'<hypernet:{name}:')} + {json.dumps(strength) if strength else usual} + {quote_js(text)}"


def _printable(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in told.items()}
