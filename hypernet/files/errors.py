"""How the readers say no: what is wrong with the file and what to do; `load` adds which file it was."""

from __future__ import annotations

AGAIN = "Download or export the file again."
"""Advice about a damaged file."""
HALF_LOADED = "Download it again and wait until the download is complete."
"""Advice about a file that ends too early."""
OTHER_MODEL = "Is it another kind of model?"
"""Advice about a file that seems to be another kind of model."""
WHICH_KIND = "Check which kind of model it is."
"""Advice about a file that is another kind of model."""
MALICIOUS = "Don't use this file: it may be malicious. If you trust its maker, ask for a .safetensors."
"""Advice about a file that asks for code to be run."""
ASK_ITS_MAKER = "Get the file again from where it comes from, or from another place."
"""Advice about a file that was made wrong."""

TRUNCATED = "a tensor reaches beyond the data that the file holds for it."
"""What is wrong with a file that lacks data."""
HIDDEN = "it hides something behind its end."
"""What is wrong with a file that goes on after its end."""
TOO_MUCH = "it holds far more than a hypernetwork does."
"""What is wrong with a file far too large to be read."""

_FOR_READERS = (AGAIN, HALF_LOADED, OTHER_MODEL, WHICH_KIND, MALICIOUS, ASK_ITS_MAKER)


class FormatError(Exception):
    """What is wrong with a file, and what to do. Stays inside this room: callers see `UnreadableFile`."""

    def __init__(self, problem: str, advice: str = AGAIN) -> None:
        super().__init__(problem)
        self.problem, self.advice = problem, advice

    @property
    def for_writers(self) -> str:
        """The advice for somebody who was about to save the file: there is nothing to download."""
        return "Nothing was saved." if self.advice in _FOR_READERS else self.advice


def damaged() -> FormatError:
    """For data that make no sense to any reader."""
    return FormatError("it is damaged.")


def shown(value: object, limit: int = 60) -> str:
    """Something out of a file, fit for a message: one line, plain ASCII, not long.

    Only texts and numbers are spelled out: a list may hold itself a billion times over.
    """
    if isinstance(value, str):
        return ascii(value if len(value) <= limit else value[:limit] + "...")
    return ascii(value) if isinstance(value, (int, float, type(None))) else f"a {type(value).__name__}"
