"""Routes of the Train tab: what its panel shows and does, as guarded as the page. They are there without `--api`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Body, HTTPException
from fastapi.responses import HTMLResponse

from hypernet.errors import HypernetError
from hypernet.webui.api import ROOT
from hypernet.webui.train_desk import Desk


def add_train_routes(app: Any, desk: Desk, guards: Sequence[Any]) -> None:
    """app: FastAPI; guards: dependencies of each route."""

    def panel() -> HTMLResponse:
        return HTMLResponse(desk.panel(), headers={"Cache-Control": "no-store"})

    def act(training: str = Body(""), action: str = Body()) -> HTMLResponse:
        try:
            desk.act(training, action)
        except HypernetError as error:
            raise HTTPException(status_code=409, detail=str(error)) from error
        return panel()

    there = {getattr(route, "path", None) for route in app.routes}
    path = f"{ROOT}/train/panel"
    if path not in there:
        for method, function in (("GET", panel), ("POST", act)):
            app.add_api_route(path, function, methods=[method], dependencies=list(guards), response_model=None)


def add_train_api(app: Any, desk: Desk, options: Any) -> None:
    """The same for programs, guarded as the host's API. options: further arguments for each route."""

    def trainings() -> list[dict[str, Any]]:
        return [
            {"name": each.name, "training": each.folder.name, "state": each.state, "step": each.step, "said": each.said}
            for each in desk.trainings()
        ]

    def start(settings: Annotated[dict[str, Any], Body(embed=True)]) -> dict[str, Any]:
        try:
            status = desk.start(settings)
        except HypernetError as error:
            raise HTTPException(status_code=422, detail=str(error)) from error
        return {"name": status.name, "training": status.folder.name, "state": status.state}

    there = {getattr(route, "path", None) for route in app.routes}
    path = f"{ROOT}/trainings"
    if path not in there:
        for method, function in (("GET", trainings), ("POST", start)):
            app.add_api_route(path, function, methods=[method], **options)
