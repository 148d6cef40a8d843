"""Routes that our scripts on the host's page ask. They are there without `--api`, and as guarded as the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Body, HTTPException, Request, Response

from hypernet.library import Entry
from hypernet.webui import cards, previews
from hypernet.webui.api import ROOT
from hypernet.webui.catalogue import Catalogue

MAX_PROMPT = 200_000
"""Characters of a prompt that are checked."""


def add_page_routes(app: Any, catalogue: Catalogue, guards: Sequence[Any]) -> None:
    """app: FastAPI; guards: dependencies of each route."""

    def found(name: str) -> Entry:
        entry = catalogue.find(name)
        if entry is None:
            raise HTTPException(status_code=404, detail=f"There is no hypernetwork “{name}”.")
        return entry

    def listed(request: Request) -> Response:
        content, tag = cards.as_json(cards.Cards(catalogue).all())
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    def preview(name: str) -> Response:
        entry = found(name)
        content, media_type = previews.picture(catalogue.library.preview(entry), entry.name)
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=604800"})

    def checked(prompt: str = Body(embed=True)) -> list[dict[str, Any]]:
        return cards.check(catalogue, prompt[:MAX_PROMPT])

    def favoured(name: str = Body(), favourite: bool = Body()) -> dict[str, Any]:
        entry = found(name)
        catalogue.memory.set_favourite(entry, favourite)
        return {"name": entry.name, "favourite": favourite}

    there = {getattr(route, "path", None) for route in app.routes}
    for method, path, function in (
        ("GET", f"{ROOT}/cards", listed),
        ("GET", f"/{cards.PREVIEW_ROUTE}", preview),
        ("POST", f"{ROOT}/check", checked),
        ("POST", f"{ROOT}/favourite", favoured),
    ):
        if path not in there:
            app.add_api_route(path, function, methods=[method], dependencies=list(guards), response_model=None)
