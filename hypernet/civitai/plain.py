"""HTML from strangers -> plain text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypernet.errors import carried

MAX_HTML = 1 << 18
"""Characters that are read; the longest descriptions have some fifty thousand."""

_BLOCKS = frozenset(
    ("p", "div", "br", "li", "ul", "ol", "tr", "table", "hr", "pre", "blockquote", "section", "article")
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_HIDDEN = frozenset(("script", "style", "template", "iframe", "svg", "noscript", "title"))


def plain(html: str) -> str:
    """The text as a reader sees it: lines for paragraphs, `- ` for items, no tag, no control or direction character."""
    reader = _Reader()
    reader.feed(html[:MAX_HTML])
    reader.close()
    text = "".join(char if char == "\n" or char.isprintable() else " " for char in carried("".join(reader.pieces)))
    lines = (re.sub(" +", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = ""
        """The tag whose content nobody sees, until it ends."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden:
            return
        if tag in _HIDDEN:
            self._hidden = tag
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.pieces.append("\n- " if tag == "li" else "\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._hidden and tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""
        elif not self._hidden and (tag in _HEADINGS or tag in ("p", "ul", "ol", "table", "blockquote")):
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data if data.strip() else data.replace("\n", " "))
