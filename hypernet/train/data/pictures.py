"""Looking through a folder: which pictures it holds, their captions and masks, and what is wrong with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hypernet.errors import HypernetError
from hypernet.train.data.buckets import Size
from hypernet.train.data.captions import read_caption

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
"""Endings of the files that are taken for pictures."""
MASK = "-masklabel"
"""NAME-masklabel.png is the mask of NAME.png, as OneTrainer keeps it."""
_REPEATS = re.compile(r"(\d{1,3})_")
SMALLEST = 64
"""Pixels of the shorter side below which a picture can teach nothing."""


@dataclass(frozen=True)
class Picture:
    """One picture to train on.

    size: as it is shown, width and height in pixels; digest: of what is seen of it; masked: by its alpha channel or by
    the file `mask`; repeats: how often an epoch shows it; regular: a picture of what must not change.
    """

    path: Path
    caption: str
    size: Size
    digest: str
    masked: bool = False
    mask: Path | None = None
    repeats: int = 1
    regular: bool = False


@dataclass(frozen=True)
class Problem:
    """Something to know about a file, as a sentence. left_out: whether it is not trained on."""

    path: Path
    text: str
    left_out: bool = True

    def __str__(self) -> str:
        return f"{self.path.name}: {self.text}" + (" It is left out." if self.left_out else "")


@dataclass(frozen=True)
class Collection:
    """What a folder holds."""

    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...]


def look(folder: Path, *, use_weight: bool = False, regular: bool = False) -> Collection:
    """Reads every picture in a folder and its subfolders, of which one named `10_cats` counts ten times, as in kohya.

    use_weight: whether alpha channels and mask files weigh the loss. Raises HypernetError without one usable picture.
    """
    if not folder.is_dir():
        raise HypernetError(f"{folder}: there is no such folder.")
    pictures: list[Picture] = []
    problems: list[Problem] = []
    seen: dict[str, Path] = {}
    for path in _files(folder):
        try:
            found = _look_at(path, folder, use_weight, regular)
        except HypernetError as error:
            problems.append(Problem(path, str(error)))
            continue
        if (first := seen.setdefault(found.digest, path)) != path:
            problems.append(Problem(path, f"The same picture as {first.name}."))
            continue
        pictures.append(found)
        if use_weight and found.masked and not read_mask(found).any():
            problems.append(Problem(path, "Its mask is empty, so that it counts everywhere alike.", left_out=False))
        if not found.caption:
            problems.append(Problem(path, "It has no caption.", left_out=False))
    if not pictures:
        why = f" {problems[0]}" if problems else " Put .png, .jpg or .webp files into it."
        raise HypernetError(f"{folder}: there is no picture to train on.{why}")
    return Collection(tuple(pictures), tuple(problems))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and not path.stem.endswith(MASK):
            yield path


def _look_at(path: Path, folder: Path, use_weight: bool, regular: bool) -> Picture:
    image = open_picture(path)
    if min(image.size) < SMALLEST:
        raise HypernetError(f"It is too small ({image.width}x{image.height}).")
    try:
        caption = read_caption(path)
    except OSError as error:
        raise HypernetError(f"Its caption can't be read ({error.strerror}).") from error
    mask = path.with_name(f"{path.stem}{MASK}.png")
    alone = mask if use_weight and mask.is_file() else None
    inside = path.relative_to(folder).parts
    repeats = _REPEATS.match(inside[0]) if len(inside) > 1 else None
    return Picture(
        path,
        caption,
        image.size,
        hashlib.sha256(image.tobytes() + str(image.size).encode()).hexdigest(),
        masked=use_weight and (alone is not None or _has_alpha(image)),
        mask=alone,
        repeats=max(1, int(repeats[1])) if repeats else 1,
        regular=regular,
    )


def open_picture(path: Path) -> Image.Image:
    """The whole picture, upright, as RGBA. Raises HypernetError for a file that can't be read."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGBA")
    except Image.DecompressionBombError as error:
        raise HypernetError("It is too large to be opened safely.") from error
    except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them stumble over
        raise HypernetError("It can't be read as a picture.") from error


def _has_alpha(image: Image.Image) -> bool:
    low, _ = image.getchannel("A").getextrema()
    return isinstance(low, int) and low < 255


def read_mask(picture: Picture) -> np.ndarray:
    """How much each pixel counts, from 0 to 1: (height, width), from the mask file or the alpha channel."""
    if picture.mask is not None:
        image = open_picture(picture.mask).convert("L")
        if image.size != picture.size:
            image = image.resize(picture.size, Image.Resampling.BILINEAR)
    else:
        image = open_picture(picture.path).getchannel("A")
    return np.asarray(image, np.float32) / 255
