"""The one family of errors this package raises on purpose. Each is a sentence for the person who uses it."""

from __future__ import annotations

from pathlib import Path

from hypernet.text import printable

NO_EFFECT = "Hypernetworks have no effect on this kind of model: they work with Stable Diffusion 1, 2 and XL."
"""For Flux, SD3 and all other models without separate K and V projections for text and picture."""


class HypernetError(Exception):
    """Something the user can understand and act on; the text is ready to be shown."""


class UnreadableFile(HypernetError):
    """A hypernetwork file that can't be used: which file, what is wrong with it, what to do about it."""

    def __init__(self, path: str | Path, problem: str, advice: str = "Download or export the file again.") -> None:
        self.path, self.problem, self.advice = Path(path), problem, advice
        super().__init__(f"{printable(self.path.name)}: {problem} {advice}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (str(self.path), self.problem, self.advice)
