"""A picture's words, and what training makes of them each time it sees the picture."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hypernet.errors import HypernetError

_NUMBERING = re.compile(r"^[-\d]+")
MAX_BYTES = 1 << 16
"""Of a caption file: a longer one is another kind of text."""


def read_caption(picture: Path) -> str:
    """The text of NAME.txt, or as in A1111 the file's name without the digits and dashes it begins with.

    Raises HypernetError for a file that holds no text; OSError.
    """
    file = picture.with_suffix(".txt")
    if not file.is_file():
        return _NUMBERING.sub("", picture.stem).replace("_", " ").strip()
    content = file.read_bytes()
    if len(content) > MAX_BYTES or b"\0" in content:
        raise HypernetError(f"{file.name} is no caption: it is too long or holds no text.")
    return " ".join(content.decode("utf-8-sig", errors="replace").split())


@dataclass(frozen=True)
class Wording:
    """How captions become prompts, in A1111's words and kohya's.

    templates: lines with [filewords] for the caption and [name] for the network; each time one of them is drawn.
    shuffle_tags: puts the parts between commas in another order, of which the first `keep_tags` stay where they are.
    tag_drop_out, caption_drop_out: how often a part, or the whole text, is left out, from 0 to 1.
    """

    name: str = ""
    templates: tuple[str, ...] = ("[filewords]",)
    shuffle_tags: bool = False
    keep_tags: int = 0
    tag_drop_out: float = 0.0
    caption_drop_out: float = 0.0

    def check(self) -> None:
        """Raises HypernetError for what makes no sense."""
        if not self.templates:
            raise HypernetError("The prompt template is empty: write a line such as “[filewords]”.")
        for what, rate in (("Tag", self.tag_drop_out), ("Caption", self.caption_drop_out)):
            if not 0 <= rate < 1:
                raise HypernetError(f"{what} dropout lies from 0 to below 1; {rate:g} does not.")
        if self.keep_tags < 0:
            raise HypernetError("The number of tags to keep can't be negative.")

    @property
    def varied(self) -> bool:
        """Whether a caption gives more texts than there are templates, so that they can't all be read beforehand."""
        return self.shuffle_tags or self.tag_drop_out > 0

    def texts(self, caption: str) -> list[str]:
        """All prompts of a caption, where it is not varied."""
        dropped = [""] if self.caption_drop_out else []
        return [self._fill(line, caption) for line in self.templates] + dropped

    def text(self, caption: str, rng: random.Random) -> str:
        """One prompt of a caption."""
        if rng.random() < self.caption_drop_out:
            return ""
        line = rng.choice(self.templates)
        if self.varied:
            tags = [tag.strip() for tag in caption.split(",") if tag.strip()]
            kept, rest = tags[: self.keep_tags], tags[self.keep_tags :]
            rest = [tag for tag in rest if rng.random() >= self.tag_drop_out]
            if self.shuffle_tags:
                rng.shuffle(rest)
            caption = ", ".join(kept + rest)
        return self._fill(line, caption)

    def _fill(self, line: str, caption: str) -> str:
        return line.replace("[filewords]", caption).replace("[name]", self.name)


def read_templates(path: str | Path) -> tuple[str, ...]:
    """The lines of a template file, as A1111 keeps them. Raises HypernetError."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise HypernetError(f"{path}: the template can't be read ({error.strerror}).") from error
    return tuple(line.strip() for line in lines if line.strip())


def common_words(captions: Iterable[str], count: int = 8) -> list[tuple[str, int]]:
    """The tags, or where captions have no commas the words, that most captions share, and in how many they stand."""
    captions = list(captions)
    tagged = sum("," in caption for caption in captions) * 2 > len(captions)
    found: Counter[str] = Counter()
    for caption in captions:
        parts = caption.split(",") if tagged else re.findall(r"[\w'-]+", caption.lower())
        found.update({part.strip() for part in parts if part.strip()})
    return found.most_common(count)
