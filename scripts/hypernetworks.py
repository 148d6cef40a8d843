"""The door: what a WebUI loads. Everything behind it is in the `hypernet` package."""

from __future__ import annotations

from typing import Any

from modules import script_callbacks, scripts

from hypernet.webui.dialects import find_host
from hypernet.webui.wiring import connect, the_session

session = the_session(find_host)
connect(session, script_callbacks)


class Hypernetworks(scripts.Script):
    """Says to the session where each request stands; it has no controls."""

    def title(self) -> str:
        """The name that the host lists."""
        return "Hypernetworks"

    def show(self, is_img2img: bool) -> Any:
        """On both tabs, always on."""
        return scripts.AlwaysVisible

    def before_process(self, p: Any, *args: Any) -> None:
        """A request begins."""
        session.before(p)

    def process(self, p: Any, *args: Any) -> None:
        """Its prompts are known."""
        session.begin(p)

    def before_process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """A batch begins."""
        session.begin_batch(p)

    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """A pass begins."""
        session.before_sampling(p)

    def postprocess_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """A batch is drawn."""
        session.end_batch(p)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """The request is drawn."""
        session.end(p, processed)
