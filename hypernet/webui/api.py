"""Routes: what is there, one network's details, refresh. Guarded as the host guards its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypernet.library import Entry
from hypernet.webui.catalogue import Catalogue

ROOT = "/hypernet/v1"
"""Where our routes begin."""


def add_routes(app: Any, catalogue: Catalogue, options: Mapping[str, Any]) -> None:
    """app: FastAPI; options: further arguments for each route, such as its guards."""
    from fastapi import HTTPException

    def networks() -> list[dict[str, Any]]:
        return listing(catalogue)

    def network(name: str) -> dict[str, Any]:
        entry = catalogue.find(name)
        if entry is None:
            raise HTTPException(status_code=404, detail=f"There is no hypernetwork “{name}”.")
        return details(catalogue, entry)

    def refresh() -> list[dict[str, Any]]:
        catalogue.refresh()
        return listing(catalogue)

    def names() -> list[dict[str, str]]:
        return [{"name": entry.name, "path": entry.shown_path} for entry in catalogue.entries()]

    there = {getattr(route, "path", None) for route in app.routes}
    for method, path, function in (
        ("GET", f"{ROOT}/networks", networks),
        ("GET", f"{ROOT}/networks/{{name:path}}", network),
        ("POST", f"{ROOT}/refresh", refresh),
        ("GET", "/sdapi/v1/hypernetworks", names),  # where a host dropped A1111's
    ):
        if path not in there:
            app.add_api_route(path, function, methods=[method], **options)


def listing(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Every network; its hash where it is known."""
    library = catalogue.library
    return [_brief(catalogue, entry, library.sha256_if_known(entry)) for entry in library.entries()]


def details(catalogue: Catalogue, entry: Entry) -> dict[str, Any]:
    """One network, its hash computed if need be, with what lies beside its file."""
    library = catalogue.library
    user, civitai = library.user_metadata(entry), library.civitai_info(entry)
    return {
        **_brief(catalogue, entry, catalogue.sha256(entry)),
        "description": user.description or library.description(entry),
        "notes": user.notes,
        "activation text": user.activation_text,
        "preferred weight": user.preferred_weight,
        "preview": str(library.preview(entry) or "") or None,
        "civitai": None if civitai is None else {"model": civitai.model, "version": civitai.version},
    }


def _brief(catalogue: Catalogue, entry: Entry, digest: str | None) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": entry.shown_path,
        "size": entry.stamp.size,
        "mtime": entry.stamp.mtime_ns / 1e9,
        "sha256": digest,
        "metadata": catalogue.facts(entry),
    }
