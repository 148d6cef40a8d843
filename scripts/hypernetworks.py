"""The door: what a WebUI loads. Everything behind it is in the `hypernet` package."""

from __future__ import annotations

from modules import script_callbacks, scripts

from hypernet.webui.session import the_session
from hypernet.webui.wiring import connect

session = the_session()
connect(session, script_callbacks)


class Hypernetworks(scripts.Script):
    """Tells the session where each request stands; it has no controls."""

    def title(self):
        return "Hypernetworks"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def before_process(self, p, *args):
        session.before(p)

    def process(self, p, *args):
        session.begin(p)

    def process_before_every_sampling(self, p, *args, **kwargs):
        session.before_sampling(p)

    def postprocess(self, p, processed, *args):
        session.end(p, processed)
