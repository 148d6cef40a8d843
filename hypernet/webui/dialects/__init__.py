"""One small file per WebUI dialect. `find_host` says which one this is, by what it has."""

from __future__ import annotations

from importlib.util import find_spec

from hypernet.webui.host import Host


def find_host() -> Host:
    """The WebUI whose `modules` this Python runs."""
    from modules import script_callbacks

    if hasattr(script_callbacks, "on_after_process"):
        from hypernet.webui.dialects.sdnext import SDNext

        return SDNext()
    if find_spec("modules_forge") is not None:
        from hypernet.webui.dialects.forge import Forge

        return Forge()
    from hypernet.webui.dialects.a1111 import A1111

    return A1111()
