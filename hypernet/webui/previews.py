"""A card's picture: what lies beside the file, scaled; for files without one a drawing that tells them apart."""

from __future__ import annotations

import hashlib
import html
import io
import re
from functools import lru_cache
from pathlib import Path

SIDE = 384
"""Pixels of the longer side that is sent, twice what a card shows."""

_MOST_PIXELS = 100_000_000  # a picture that claims more is not opened
_INITIALS = re.compile(r"[^\W_]+")


def picture(file: Path | None, name: str) -> tuple[bytes, str]:
    """The content and its media type. file: the picture beside the network; name: the network's."""
    if file is not None:
        try:
            return _scaled(file, file.stat().st_mtime_ns), "image/webp"
        except (OSError, ValueError, SyntaxError):  # Pillow's for broken pictures
            pass
    return placeholder(name).encode(), "image/svg+xml"


@lru_cache(maxsize=512)
def _scaled(file: Path, mtime_ns: int) -> bytes:
    """The first frame as WebP. Raises OSError, ValueError, SyntaxError."""
    from PIL import Image

    with Image.open(file) as opened:
        if opened.width * opened.height > _MOST_PIXELS:
            raise ValueError("the picture is too large")
        opened.draft("RGB", (SIDE * 2, SIDE * 2))  # lets a JPEG be read at a fraction of its size
        image = opened.convert("RGBA" if "A" in opened.getbands() else "RGB")
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=80, method=2)
    return stream.getvalue()


def placeholder(name: str) -> str:
    """An SVG with the name's initials on a colour of its own."""
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).digest()
    hue, turn = digest[0] * 360 // 256, digest[1] * 360 // 256
    stem = name.rpartition("/")[2]
    parts = _INITIALS.findall(stem)
    initials = "".join(part[0] for part in parts[:2]).upper() if len(parts) > 1 else stem[:2]
    blobs = "".join(
        f'<circle cx="{digest[place]}" cy="{digest[place + 1] * 1.5}" r="{40 + digest[place + 2] // 4}" '
        f'fill="hsl({(hue + turn * number) % 360} 45% {30 + 8 * number}%)" opacity=".55"/>'
        for number, place in enumerate((2, 5, 8))
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 384" preserveAspectRatio="xMidYMid slice">'
        f'<rect width="256" height="384" fill="hsl({hue} 40% 24%)"/>{blobs}'
        '<text x="128" y="200" text-anchor="middle" font-family="sans-serif" font-size="92" font-weight="600" '
        f'fill="white" opacity=".9">{html.escape(initials)}</text></svg>'
    )
