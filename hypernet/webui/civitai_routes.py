"""Routes for Civitai: search, preview, download and look-up with progress. Only a call asks the site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import Body, HTTPException, Response

from hypernet.errors import HypernetError
from hypernet.webui.api import ROOT
from hypernet.webui.catalogue import Catalogue

Asked = Annotated[dict[str, Any], Body()]


def add_civitai_routes(app: Any, catalogue: Catalogue, options: Mapping[str, Any]) -> None:
    """app: FastAPI; options: further arguments for each route, such as its guards. Nothing without `requests`."""
    if find_spec("requests") is None:
        return
    from hypernet.civitai import key_from_environment
    from hypernet.civitai.backend import Backend

    backend = Backend(
        library=lambda: catalogue.library,
        key=lambda: catalogue.settings.civitai_key or key_from_environment(),
        changed=catalogue.refresh,
    )

    def search(asked: Asked) -> Any:
        return _or_said(lambda: backend.search(asked))

    def preview(model: int) -> Any:
        content, kind = _or_said(lambda: backend.preview(model))
        return Response(content, media_type=kind, headers={"Cache-Control": "max-age=604800"})

    def get(asked: Asked) -> Any:
        return _or_said(lambda: backend.get(asked))

    def lookup(asked: Asked) -> Any:
        return _or_said(lambda: backend.lookup(asked))

    def state(task: str) -> Any:
        return _or_said(lambda: backend.state(task))

    def cancel(task: str) -> Any:
        return _or_said(lambda: backend.cancel(task))

    there = {getattr(route, "path", None) for route in app.routes}
    for method, path, function in (
        ("POST", f"{ROOT}/civitai/search", search),
        ("GET", f"{ROOT}/civitai/preview/{{model}}", preview),
        ("POST", f"{ROOT}/civitai/get", get),
        ("POST", f"{ROOT}/civitai/lookup", lookup),
        ("GET", f"{ROOT}/civitai/tasks/{{task}}", state),
        ("POST", f"{ROOT}/civitai/tasks/{{task}}/cancel", cancel),
    ):
        if path not in there:
            app.add_api_route(path, function, methods=[method], response_model=None, **options)


def _or_said(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except HypernetError as error:
        raise HTTPException(status_code=400, detail=str(error)) from error
