"""A name from the internet -> a file name that every system takes and that a tag can carry."""

from __future__ import annotations

import re
import unicodedata

_FORBIDDEN = re.compile(
    r'[<>:"/\\|?*%\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\ufeff\ufffd\ud800-\udfff]+'
)
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
_ENDINGS = re.compile(r"\.(?:safetensors|pt|pth|ckpt|bin|zip)$", re.IGNORECASE)
_MAX_BYTES = 150
"""Of 255 that file systems allow: `.preview.jpeg` and ` (2)` go behind it, and folders have a length of their own."""


def safe_stem(name: str, otherwise: str) -> str:
    """A stem for one file in a folder: never a path, a reserved name, hidden, or empty.

    otherwise: taken when nothing is left of the name.
    """
    stem = _ENDINGS.sub("", unicodedata.normalize("NFC", name).strip())
    stem = _FORBIDDEN.sub("_", stem)
    stem = " ".join(stem.split()).strip(" .")
    stem = stem.encode("utf-8", "ignore")[:_MAX_BYTES].decode("utf-8", "ignore").strip(" .")
    if not stem.strip("_ ."):
        return otherwise
    return f"_{stem}" if _RESERVED.fullmatch(stem.partition(".")[0].strip()) else stem
