"""Routes for Civitai: search, preview, download and look-up with progress. Only a call asks the site.

Those for programs are guarded as the host's API. The page needs the previews alone, as pictures, which change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, HTTPException, Response

from hypernet.errors import HypernetError
from hypernet.webui.api import ROOT
from hypernet.webui.catalogue import Catalogue

if TYPE_CHECKING:
    from hypernet.civitai.backend import Backend

Asked = Annotated[dict[str, Any], Body()]

PAGE_PREVIEW = "hypernet/v1/page/civitai/preview"
"""Where the pictures of a search are, seen from the page: a model's id comes behind it."""


@lru_cache(maxsize=1)
def the_backend(catalogue: Catalogue) -> Backend | None:
    """The one backend that routes and page share; None without `requests`."""
    if find_spec("requests") is None:
        return None
    from hypernet.civitai import key_from_environment
    from hypernet.civitai.backend import Backend

    return Backend(
        library=lambda: catalogue.library,
        key=lambda: catalogue.settings.civitai_key or key_from_environment(),
        changed=catalogue.refresh,
    )


def add_preview_route(app: Any, catalogue: Catalogue, guards: Sequence[Any]) -> None:
    """The pictures of models that a search has shown, for the page. guards: dependencies of the route."""
    backend, path = the_backend(catalogue), f"/{PAGE_PREVIEW}/{{model}}"
    if backend is None or any(getattr(route, "path", None) == path for route in app.routes):
        return
    app.add_api_route(path, _preview_of(backend), methods=["GET"], dependencies=list(guards), response_model=None)


def _preview_of(backend: Backend) -> Callable[[int], Response]:
    def preview(model: int) -> Response:
        content, kind = _or_said(lambda: backend.preview(model))
        return Response(content, media_type=kind, headers={"Cache-Control": "max-age=604800"})

    return preview


def add_civitai_routes(app: Any, catalogue: Catalogue, options: Mapping[str, Any]) -> None:
    """app: FastAPI; options: further arguments for each route, such as its guards. Nothing without `requests`."""
    backend = the_backend(catalogue)
    if backend is None:
        return

    def search(asked: Asked) -> Any:
        return _or_said(lambda: backend.search(asked))

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
        ("GET", f"{ROOT}/civitai/preview/{{model}}", _preview_of(backend)),
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
