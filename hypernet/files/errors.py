"""How the readers say no: what is wrong with the file and what to do; `load` adds which file it was."""

from __future__ import annotations

AGAIN = "Download or export the file again."
HALF_LOADED = "Download it again and wait until the download is complete."
OTHER_MODEL = "Is it another kind of model?"
MALICIOUS = "Don't use this file: it may be malicious. If you trust its maker, ask for a .safetensors."
ASK_ITS_MAKER = "Get the file again from where it comes from, or from another place."


class Refused(Exception):
    """A file that can't be used. Stays inside this room: callers see `UnreadableFile`."""

    def __init__(self, problem: str, advice: str = AGAIN) -> None:
        super().__init__(problem)
        self.problem, self.advice = problem, advice


def shown(value: object, limit: int = 60) -> str:
    """Something out of a file, fit for a message: one line, plain ASCII, not long.

    Only texts and numbers are spelled out: a list may hold itself a billion times over.
    """
    if isinstance(value, str):
        return ascii(value if len(value) <= limit else value[:limit] + "...")
    return ascii(value) if isinstance(value, (int, float, type(None))) else f"a {type(value).__name__}"
