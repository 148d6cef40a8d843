"""Hangs a session into a host's callbacks. Hosts forget them when their UI reloads, and the door wires anew."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hypernet.webui import infotext
from hypernet.webui.settings import SECTION, SETTINGS, Setting

if TYPE_CHECKING:
    from hypernet.webui.session import Session


def connect(session: Session, callbacks: Any) -> None:
    """callbacks: the host's `script_callbacks` module; what it lacks is left out."""
    host = session.host

    def before_ui() -> None:
        host.take_over(session)
        host.add_settings(
            SECTION, {s.key: _control(s, host.option_info()) for s in SETTINGS if _makes_sense(s, session)}
        )
        session.publish()
        host.show_page(session)
        add_axes()

    def add_axes() -> None:
        from hypernet.webui.axes import add_axes

        add_axes(host.axes(), session)

    def app_started(demo: Any, app: Any) -> None:
        options = host.route_options(app)
        if options is not None:
            from hypernet.webui.api import add_routes

            add_routes(app, session, options)

    def infotext_pasted(text: str, params: dict[str, Any]) -> None:
        infotext.pasted(params, session.library, host.tell)

    wanted = {
        "on_before_ui": before_ui,
        "on_app_started": app_started,
        "on_infotext_pasted": infotext_pasted,
        "on_cfg_denoiser": session.step,
        "on_script_unloaded": session.close,
    }
    for name, function in wanted.items():
        register = getattr(callbacks, name, None)
        if register is not None:
            register(function)
    _console()


def _makes_sense(setting: Setting, session: Session) -> bool:
    return setting.key != "hypernet_native" or session.host.native is not None


def _control(setting: Setting, option_info: Any) -> Any:
    """The host's description of one setting."""
    import gradio as gr

    component: Any = None
    arguments: dict[str, Any] = {}
    if setting.choices:
        component, arguments = gr.Radio, {"choices": list(setting.choices)}
    elif setting.maximum:
        step = 1 if isinstance(setting.default, int) else 0.05
        component, arguments = gr.Slider, {"minimum": 0, "maximum": setting.maximum, "step": step}
    elif isinstance(setting.default, str):
        component, arguments = gr.Textbox, {"lines": 2}
    control = option_info(setting.default, setting.label, component, arguments)
    return control.info(setting.info) if setting.info else control


def _console() -> None:
    """Hosts rarely show what is less than a warning; our settings can ask for it."""
    log = logging.getLogger("hypernet")
    if not log.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("Hypernetworks: %(message)s"))
        log.addHandler(handler)
        log.propagate = False
