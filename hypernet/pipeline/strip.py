"""Pictures side by side with labels under them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_SIDE, _GAP, _LINE = 192, 12, 28
_INK, _PAPER = "#222222", "white"


def side_by_side(images: Sequence[Image.Image], labels: Sequence[str], title: str) -> Image.Image:
    """One row of the pictures, small ones enlarged, each with its label, under a title."""
    shown = [image.resize(_enlarged(image), Image.Resampling.LANCZOS) for image in images]
    width = sum(image.width for image in shown) + _GAP * (len(shown) + 1)
    height = max(image.height for image in shown) + 2 * _LINE + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    pen.text((width // 2, _LINE // 2 + 2), title, _INK, font, anchor="mm")
    left = _GAP
    for image, label in zip(shown, labels, strict=True):
        sheet.paste(image, (left, _LINE))
        pen.text((left + image.width // 2, _LINE + image.height + _LINE // 2), label, _INK, font, anchor="mm")
        left += image.width + _GAP
    return sheet


def _enlarged(image: Image.Image) -> tuple[int, int]:
    factor = max(1, _SIDE // image.height)
    return image.width * factor, image.height * factor
