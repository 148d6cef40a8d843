"""The Hypernetworks tab: a page of the host's own kind, with what each file is on its card."""

from __future__ import annotations

import html
import json
from typing import Any

from hypernet.library import Entry
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.facts import facts, line


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
            for index, entry in enumerate(catalogue.entries()):
                yield self._item(entry, index)

        def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> Any:
            entry = catalogue.find(name)
            return None if entry is None else self._item(entry, index)

        def allowed_directories_for_previews(self) -> list[str]:
            return [str(folder) for folder in catalogue.library.folders]

        def _item(self, entry: Entry, index: int | None) -> dict[str, Any]:
            path = entry.shown_path
            stem = path[: -len(entry.path.suffix)]
            digest = catalogue.library.sha256_if_known(entry)
            terms = [html.escape(term) for term in (self.search_terms_from_path(path), digest, line(entry)) if term]
            return {
                "name": entry.name,
                "filename": path,
                "shorthash": digest[:10] if digest else None,
                "preview": self.find_preview(stem),
                "description": self.find_description(stem),
                "search_terms": terms,
                "search_term": " ".join(terms),  # before 1.8
                "prompt": quote_js(f"<hypernet:{entry.name}:") + f" + {_strength(catalogue)} + " + quote_js(">"),
                "local_preview": f"{stem}.preview.{catalogue.option('samples_format', 'png')}",
                "metadata": _printable(facts(entry)),
                "facts": line(entry),
                "sort_keys": {"default": index, **self.get_sort_keys(path)},
            }

        def create_item_html(self, tabname: str, item: dict[str, Any], template: str | None = None) -> Any:
            made = super().create_item_html(tabname, {**item, "filename": html.escape(item["filename"])}, template)
            if not isinstance(made, str):
                return made
            shown = f"<span class='hypernet-facts'>{html.escape(item.get('facts', ''))}</span>"
            before, mark, after = made.partition('<span class="description">')
            return before + shown + mark + after if mark else made

        def create_user_metadata_editor(self, ui: Any, tabname: str) -> Any:
            return _make_editor(ui_extra_networks, ui, tabname, self)

    return HypernetworksPage()


def _make_editor(ui_extra_networks: Any, ui: Any, tabname: str, page: Any) -> Any:
    base = ui_extra_networks.ui_extra_networks_user_metadata.UserMetadataEditor

    class Editor(base):  # type: ignore[misc, valid-type]
        """The host's, with our facts in its table, whose values it shows as HTML."""

        def get_metadata_table(self, name: str) -> list[tuple[str, str | None]]:
            told = [*super().get_metadata_table(name), ("Contents: ", page.items.get(name, {}).get("facts"))]
            return [(key, None if value is None else html.escape(str(value))) for key, value in told]

    return Editor(ui, tabname, page)


def _strength(catalogue: Catalogue) -> str:
    """A JavaScript expression."""
    own = catalogue.settings.strength
    return json.dumps(own) if own else "opts.extra_networks_default_multiplier"


def _printable(told: dict[str, Any]) -> dict[str, Any]:
    return {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in told.items()}
