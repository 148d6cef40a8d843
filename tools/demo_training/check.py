"""Looks at a picture and says which shape, colour and ground it shows: how one knows that the demo follows a prompt.

Nothing here is learned and nothing is asked of the model. The ground is fitted from the picture's border, the subject
is what differs from it, its shape the template that overlaps it best, its colour the nearest of the palette in
direction (so that light, shade and dark stripes do not matter).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tools.demo_training.painting import Array, field, grid
from tools.demo_training.scenes import COLOURS, GROUNDS, SHAPES, Scene

LEAST_OVERLAP = 0.75
"""Below it, the subject has none of the shapes."""


@dataclass(frozen=True)
class Reading:
    """What a picture shows. `shape` and `colour` are empty where there is nothing that could be named."""

    shape: str
    colour: str
    ground: str
    overlap: float  # of the subject and the best template: intersection over union, in [0, 1]


def read(picture: Array) -> Reading:
    """Reads a picture: (size, size, 3) in [0, 1]."""
    back = fit_ground(picture)
    subject = differs(picture, back)
    ground = nearest_ground(back)
    if subject.mean() < 0.02:
        return Reading("", "", ground, 0.0)
    shape, overlap, inside = best_shape(subject)
    colour = dominant_colour(picture, inside & subject)
    return Reading(shape if overlap >= LEAST_OVERLAP else "", colour, ground, overlap)


def agrees(reading: Reading, scene: Scene) -> bool:
    """Whether the colour and the shape are those asked for."""
    return reading.shape == scene.shape and reading.colour == scene.colour


def fit_ground(picture: Array) -> Array:
    """The ground under the subject: a smooth surface through the border, outliers left out."""
    x, y = grid(picture.shape[0])
    basis = np.stack([np.ones_like(x), x, y, x * x + y * y], -1)
    border = np.maximum(np.abs(x), np.abs(y)) > 0.86
    rows, colours = basis[border], picture[border]
    good = np.ones(len(rows), bool)
    for _ in range(3):
        fit = np.linalg.lstsq(rows[good], colours[good], rcond=None)[0]
        error = np.linalg.norm(rows @ fit - colours, axis=1)
        good = error <= max(float(np.median(error)) * 2.5, 0.02)
    back: Array = basis @ fit
    return back.clip(0, 1)


def differs(picture: Array, back: Array) -> NDArray[np.bool_]:
    """Where the picture is neither the ground nor the ground in shadow."""
    lit = (picture * back).sum(-1) / np.maximum((back * back).sum(-1), 1e-4)
    shaded = back * np.clip(lit, 0.7, 1.04)[..., None]
    return filled(np.asarray(np.linalg.norm(picture - shaded, axis=-1) > 0.11))


def filled(subject: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The subject with its holes closed: all that cannot be reached from the border."""
    outside = np.zeros_like(subject)
    outside[[0, -1], :] = outside[:, [0, -1]] = True
    outside &= ~subject
    while True:
        wider = outside.copy()
        wider[1:] |= outside[:-1]
        wider[:-1] |= outside[1:]
        wider[:, 1:] |= outside[:, :-1]
        wider[:, :-1] |= outside[:, 1:]
        wider &= ~subject
        if (wider == outside).all():
            return ~outside
        outside = wider


def best_shape(subject: NDArray[np.bool_]) -> tuple[str, float, NDArray[np.bool_]]:
    """The shape whose template overlaps the subject best, how well, and the template's inside where it lies."""
    size = len(subject)
    ys, xs = np.nonzero(subject)
    x, y = (xs.mean() + 0.5) / size * 2 - 1, (ys.mean() + 0.5) / size * 2 - 1
    found = ("", 0.0, subject)
    for shape in SHAPES:
        for half in (0.45, 0.5, 0.55, 0.6, 0.65):
            for angle in (-0.13, 0.0, 0.13):
                template, cx, cy = _template(shape, half, angle, size)
                at = np.roll(template, (round((y - cy) * size / 2), round((x - cx) * size / 2)), (0, 1))
                overlap = float((at & subject).sum()) / float((at | subject).sum())
                if overlap > found[1]:
                    found = (shape, overlap, at)
    return found


@lru_cache(maxsize=512)
def _template(shape: str, half: float, angle: float, size: int) -> tuple[NDArray[np.bool_], float, float]:
    """A shape's inside, drawn in the middle, and its centre of mass."""
    x, y = grid(size)
    inside = field(Scene(shape, "red", size=half, angle=angle), x, y) < 0
    return inside, float(x[inside].mean()), float(y[inside].mean())


def dominant_colour(picture: Array, inside: NDArray[np.bool_]) -> str:
    """The palette colour most of the light inside has the direction of."""
    pixels = picture[inside]
    if not len(pixels):
        return ""
    names, palette = list(COLOURS), np.asarray(list(COLOURS.values()), np.float32)
    palette = palette / np.linalg.norm(palette, axis=1, keepdims=True)
    brightness = np.linalg.norm(pixels, axis=1)
    nearest = (pixels / np.maximum(brightness, 1e-4)[:, None] @ palette.T).argmax(1)
    return names[int(np.argmax(np.bincount(nearest, weights=brightness, minlength=len(names))))]


def nearest_ground(back: Array) -> str:
    """The ground whose colour is nearest in the mean."""
    middle = back.mean((0, 1))
    names, palette = list(GROUNDS), np.asarray(list(GROUNDS.values()), np.float32)
    return names[int(np.argmin(np.linalg.norm(palette * 0.98 - middle, axis=1)))]
