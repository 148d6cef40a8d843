"""Routes that our scripts on the host's page ask. They are there without `--api`, and as guarded as the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Body, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from hypernet.webui import cards, previews
from hypernet.webui.api import ROOT
from hypernet.webui.catalogue import Catalogue

MAX_PROMPT = 200_000
"""Characters of a prompt that are checked."""


def add_page_routes(app: Any, catalogue: Catalogue, guards: Sequence[Any]) -> None:
    """app: FastAPI; guards: dependencies of each route."""

    def listed(request: Request) -> Response:
        found = cards.cards(catalogue)
        tag = cards.etag(found)
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return JSONResponse(found, headers={"ETag": tag, "Cache-Control": "no-cache"})

    def preview(name: str) -> Response:
        entry = catalogue.find(name)
        if entry is None:
            raise HTTPException(status_code=404, detail=f"There is no hypernetwork “{name}”.")
        content, media_type = previews.picture(catalogue.library.preview(entry), entry.name)
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=604800"})

    def checked(prompt: str = Body(embed=True)) -> list[dict[str, Any]]:
        return cards.check(catalogue, prompt[:MAX_PROMPT])

    there = {getattr(route, "path", None) for route in app.routes}
    for method, path, function in (
        ("GET", f"{ROOT}/cards", listed),
        ("GET", f"/{cards.PREVIEW_ROUTE}", preview),
        ("POST", f"{ROOT}/check", checked),
    ):
        if path not in there:
            app.add_api_route(path, function, methods=[method], dependencies=list(guards), response_model=None)
