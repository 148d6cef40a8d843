"""HTML from strangers -> plain text, in linear time; `html.parser` can take quadratic time."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from hypernet.text import json_safe

MAX_HTML = 1 << 18
"""Characters that are read; the longest descriptions have some fifty thousand."""

_NAME = re.compile(r"/?[a-z][a-z0-9]*", re.IGNORECASE)
_LINES = frozenset(("p", "div", "br", "ul", "ol", "tr", "table", "hr", "pre", "blockquote", "section"))
_APART = frozenset(("/p", "/ul", "/ol", "/table", "/blockquote", *(f"/h{size}" for size in range(1, 7))))
_HEADINGS = frozenset(f"h{size}" for size in range(1, 7))
_HIDDEN = frozenset(("script", "style", "template", "iframe", "svg", "noscript", "title", "textarea"))


def plain(text: str) -> str:
    """The text as a reader sees it: lines for paragraphs, `- ` for items, no tag, no control or direction character."""
    shown = "".join(_shown(text[:MAX_HTML]))
    clean = "".join(char if char == "\n" or char.isprintable() else " " for char in json_safe(shown))
    lines = (re.sub(" +", " ", line).strip() for line in clean.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _shown(text: str) -> Iterator[str]:
    """The visible text, with line ends for tags. Each character is read once."""
    lower, at = text.lower(), 0
    if len(lower) != len(text):  # a letter whose lower case has two characters
        lower = text
    while at < len(text):
        start = text.find("<", at)
        if start < 0:
            start = len(text)
        yield html.unescape(" ".join(re.split(r"[\r\n\t]+", text[at:start])))
        if text.startswith("<!--", start):
            at = _behind(text, "-->", start)
        elif name := _NAME.match(lower, start + 1):
            at = _behind(text, ">", start)
            if name[0] in _HIDDEN:
                at = _behind(lower, f"</{name[0]}", at)
                at = _behind(text, ">", at)
            yield _line(name[0])
        elif text.startswith(("<!", "<?"), start):
            at = _behind(text, ">", start)
        else:
            yield text[start : start + 1]
            at = start + 1


def _behind(text: str, end: str, at: int) -> int:
    """The index after the next `end`, or after the whole text if there is none."""
    found = text.find(end, at)
    return len(text) if found < 0 else found + len(end)


def _line(tag: str) -> str:
    if tag == "li":
        return "\n- "
    return "\n" if tag in _LINES or tag in _APART or tag in _HEADINGS else ""
