"""Connects a session with a host's callbacks. Hosts forget them when their UI reloads, and the door connects anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from hypernet.webui import infotext
from hypernet.webui.host import Host
from hypernet.webui.session import Session
from hypernet.webui.settings import CONTROLS, SECTION, Control
from hypernet.webui.train_desk import Desk
from hypernet.webui.train_tab import train_tabs

_log = logging.getLogger("hypernet")

_session: Session | None = None
"""Scripts are executed anew when a UI reloads, and must find the hooks and files of before."""


def the_session(find_host: Callable[[], Host]) -> Session:
    """The session of the WebUI that this Python runs."""
    global _session
    if _session is None:
        _session = Session(find_host())
    return _session


def connect(session: Session, callbacks: Any) -> None:
    """callbacks: the host's `script_callbacks` module; what it lacks is left out."""
    host, catalogue = session.host, session.catalogue
    desk = Desk(host, catalogue)

    def before_ui() -> None:
        host.install(session, catalogue)
        controls = {key: each for key, each in CONTROLS.items() if host.native is not None or not each.needs_native}
        host.add_settings(SECTION, {key: _info(each, host.option_info()) for key, each in controls.items()})
        catalogue.publish()
        host.show_page(catalogue)
        add_axes()

    def add_axes() -> None:
        from hypernet.webui.axes import add_axes

        modules = host.axes()
        add_axes(modules, catalogue, lambda: _base(host))
        for module in modules:
            _keep_all_notes(module, session)

    def app_started(demo: Any, app: Any) -> None:
        from hypernet.webui.civitai_routes import add_civitai_routes, add_preview_route
        from hypernet.webui.page_routes import add_page_routes
        from hypernet.webui.train_routes import add_train_api, add_train_routes

        guards = host.page_guards()
        add_page_routes(app, catalogue, guards)
        add_preview_route(app, catalogue, guards)
        add_train_routes(app, desk, guards)
        options = host.route_options(app)
        if options is not None:
            from hypernet.webui.api import add_routes

            add_routes(app, catalogue, options)
            add_civitai_routes(app, catalogue, options)
            add_train_api(app, desk, options)
            host.on_api_infotext(lambda params: infotext.pasted(params, catalogue.library, _log.warning))

    def ui_tabs() -> list[tuple[Any, str, str]]:
        from hypernet.webui.tools_tab import tools_tab

        return [*tools_tab(host, catalogue), *train_tabs(desk)]

    def infotext_pasted(text: str, params: dict[str, Any]) -> None:
        infotext.pasted(params, catalogue.library, host.warn, text, catalogue.facts)

    wanted = {
        "on_before_ui": before_ui,
        "on_ui_tabs": ui_tabs,
        "on_app_started": app_started,
        "on_infotext_pasted": infotext_pasted,
        "on_cfg_denoiser": session.step,
        "on_script_unloaded": session.close,
    }
    for name, function in wanted.items():
        register = getattr(callbacks, name, None)
        if register is not None:
            register(function)
    _show_log()


def _base(host: Host) -> str | None:
    """The base of the model that is loaded now, by the width of its text."""
    from hypernet.network import TEXT_WIDTHS
    from hypernet.sites import find_sites

    try:
        widths = {site.width for site in find_sites(host.find_unet(None)) if site.cross}
    except Exception:  # no model, or one that hypernetworks can't act on
        return None
    return TEXT_WIDTHS.get(widths.pop()) if len(widths) == 1 else None


def _keep_all_notes(module: Any, session: Session) -> None:
    """The plot shows the comments of its first picture only: makes it show those of all."""
    script = getattr(module, "Script", None)
    run = getattr(script, "run", None)
    if run is None or getattr(run, "_hypernet", False):
        return

    @wraps(run)
    def run_and_note(self: Any, *args: Any, **kwargs: Any) -> Any:
        with session.collected_notes() as notes:
            processed = run(self, *args, **kwargs)
        session.host.add_late_comments(processed, list(notes))
        return processed

    run_and_note._hypernet = True  # type: ignore[attr-defined]
    script.run = run_and_note  # type: ignore[union-attr]


def _info(control: Control, option_info: Any) -> Any:
    """The host's description of one setting."""
    import gradio as gr

    component: Any = None
    arguments: dict[str, Any] = {}
    if control.choices:
        component, arguments = gr.Radio, {"choices": list(control.choices)}
    elif control.maximum:
        step = 1 if isinstance(control.default, int) else 0.05
        component, arguments = gr.Slider, {"minimum": 0, "maximum": control.maximum, "step": step}
    elif isinstance(control.default, str):
        component, arguments = gr.Textbox, {"lines": 2}
    info = option_info(control.default, control.label, component, arguments)
    return info.info(control.info) if control.info else info


def _show_log() -> None:
    """Hosts rarely show what is less than a warning; our settings can ask for it."""
    log = logging.getLogger("hypernet")
    if not log.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("Hypernetworks: %(message)s"))
        log.addHandler(handler)
        log.propagate = False
