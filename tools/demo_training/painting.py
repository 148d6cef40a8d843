"""Plain pictures of scenes, drawn with distance fields.

A distance field gives a shape's edge, its shadow and its light at once, and the effects (`effects.py`) bend it.
Coordinates: x to the right, y down, both in [-1, 1]; colours are RGB in [0, 1].
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.demo_training.scenes import COLOURS, GROUNDS, Scene

Array: TypeAlias = NDArray[Any]
"""An array of numpy, whatever its type."""


def paint(scene: Scene, under: Array, x: Array, y: Array, bent_x: Array, bent_y: Array) -> Array:
    """The subject over the picture `under`, its field read at the bent coordinates; the shadow stays straight."""
    under = under * (1 - 0.38 * shadow(scene, x, y))[..., None]
    inside = coverage(field(scene, bent_x, bent_y), x.shape[0])
    return over(under, surface(scene, bent_x, bent_y), inside)


def grid(size: int) -> tuple[Array, Array]:
    """x and y of each pixel: (size, size), in [-1, 1]."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def ground(scene: Scene, x: Array, y: Array) -> Array:
    """The ground: lighter above, darker towards the corners."""
    light = 1.04 - 0.07 * y - 0.07 * (x * x + y * y)
    picture: Array = np.asarray(GROUNDS[scene.ground], np.float32) * light[..., None]
    return picture.clip(0, 1)


def shadow(scene: Scene, x: Array, y: Array) -> Array:
    """How deep each point lies in the subject's soft shadow, in [0, 1]."""
    depth = np.clip(0.5 - field(scene, x - 0.05, y - 0.09) / 0.26, 0, 1)
    return depth * depth * (3 - 2 * depth)


def surface(scene: Scene, x: Array, y: Array) -> Array:
    """The subject's colour at each point: texture under a light from the upper left."""
    u, v = local(scene, x, y)
    colour = np.asarray(COLOURS[scene.colour], np.float32)
    tone = 1 - 0.5 * pattern(scene.texture, u, v)
    light = 1.0 - 0.13 * (0.5 * u + v)
    gloss = 0.2 * np.exp(-((u + 0.3) ** 2 + (v + 0.38) ** 2) / 0.09)
    return np.clip(colour * (tone * light)[..., None] + gloss[..., None], 0, 1)


def pattern(texture: str, u: Array, v: Array) -> Array:
    """Where a texture is dark, 0 to 1, with edges about two pixels soft."""
    if texture == "striped":
        wave = np.sin((u + v) * 7.6)
    elif texture == "dotted":
        wave = np.cos(u * 8.6) + np.cos(v * 8.6) - 0.85
    elif texture == "checkered":
        wave = np.sin(u * 6.6) * np.sin(v * 6.6) * 2
    else:
        return np.zeros_like(u)
    return np.clip(0.5 + wave * 1.6, 0, 1)


def local(scene: Scene, x: Array, y: Array) -> tuple[Array, Array]:
    """Picture coordinates to the subject's own, in which it reaches from about -1 to 1."""
    c, s = np.float32(np.cos(scene.angle) / scene.size), np.float32(np.sin(scene.angle) / scene.size)
    dx, dy = x - np.float32(scene.x), y - np.float32(scene.y)
    return dx * c + dy * s, dy * c - dx * s


def field(scene: Scene, x: Array, y: Array) -> Array:
    """Signed distance to the subject's edge, about; negative inside; in picture units."""
    u, v = local(scene, x, y)
    scaled: Array = distance(scene.shape, u, v) * np.float32(scene.size)
    return scaled


def distance(shape: str, u: Array, v: Array) -> Array:
    """Approximate signed distance of each shape at its own scale."""
    a = np.abs(u)
    if shape == "circle":
        return np.hypot(u, v) - 0.92
    if shape == "square":
        return np.maximum(a, np.abs(v)) - 0.82
    if shape == "triangle":
        return np.maximum(a * 0.873 - (v + 1) * 0.489, v - 0.75)
    if shape == "diamond":
        return (a * 1.45 + np.abs(v) - 1.05) * 0.57
    if shape == "cross":
        b = np.abs(v)
        return np.minimum(np.maximum(a - 0.32, b - 0.95), np.maximum(a - 0.95, b - 0.32))
    if shape == "moon":
        return np.maximum(np.hypot(u + 0.1, v) - 0.98, 0.8 - np.hypot(u - 0.42, v))
    if shape == "star":
        sector = np.float32(2 * np.pi / 5)
        turn = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
        radius = np.hypot(u, v)
        px, py = radius * np.cos(turn), radius * np.sin(turn)
        side: Array = (px - 1.15) * 0.53 + py * 0.848
        return side
    if shape == "heart":
        w = v - 0.08
        lobes = np.hypot(a - 0.46, w + 0.38) - 0.5
        tip = np.maximum(a * 0.745 + w * 0.667 - 0.62, -(w + 0.38))
        return np.minimum(lobes, np.maximum(tip, a - 0.96))
    raise ValueError(f"no such shape: {shape}")


def coverage(distance_field: Array, size: int) -> Array:
    """How much of each pixel lies inside, in [0, 1]: anti-aliasing."""
    return np.clip(0.5 - distance_field * (size / 2.4), 0, 1)


def over(under: Array, top: Array, alpha: Array) -> Array:
    """`top` laid over `under`. alpha: how much of each pixel it covers."""
    both: Array = under + (top - under) * alpha[..., None]
    return both
