"""Texts for people: safe to print and to send as JSON, and sizes in words."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without control and direction characters, with which a stranger's file name could command a terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)


def json_safe(text: str) -> str:
    """The text with `?` for each lone surrogate, which JSON and web pages can't carry.

    They come from file names with bytes that are no text, and from lone escapes in JSON.
    """
    return text.encode("utf-8", "replace").decode()


def size_in_words(nbytes: int) -> str:
    """`12 kB`, `1.5 MB`, `84 MB`, `6.5 GB`: 1,024 bytes to the kB, as WebUIs count. Never less than 1 kB."""
    size, unit = max(nbytes / 1024, 1.0), "kB"
    for larger in ("MB", "GB"):
        if size >= 1000:
            size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if size < 10 and unit != "kB" else f"{size:,.0f} {unit}"
