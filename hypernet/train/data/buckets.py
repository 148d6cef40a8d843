"""The size each picture is trained at: its own shape, at most the model's area, never enlarged."""

from __future__ import annotations

from dataclasses import dataclass

CROPS = ("center", "random", "squeeze")
"""What happens to the few pixels by which a picture is not its bucket's shape: cut off on both sides, cut off somewhere
else each time, or pressed in."""

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Fit:
    """How a picture comes to its bucket. scaled: its size before cropping; bucket: after it."""

    scaled: Size
    bucket: Size


def fit(size: Size, area: int, step: int, crop: str = "center", grain: int = 8) -> Fit | None:
    """The fit of a picture of this size; None for one that is too small.

    area: at most so many pixels; step: what a bucket's sides are multiples of; grain: pixels of a latent's side.
    """
    width, height = size
    scale = min(1.0, (area / (width * height)) ** 0.5)
    bucket = (_floor(width * scale, step), _floor(height * scale, step))
    if not all(bucket):
        return None
    if crop == "squeeze":
        return Fit(bucket, bucket)
    cover = max(bucket[0] / width, bucket[1] / height)
    if crop == "center":
        return Fit((max(bucket[0], round(width * cover)), max(bucket[1], round(height * cover))), bucket)
    room = (max(bucket[0], _floor(width * cover, grain)), max(bucket[1], _floor(height * cover, grain)))
    return Fit(room, bucket)


def _floor(length: float, step: int) -> int:
    return int(length + 1e-6) // step * step
