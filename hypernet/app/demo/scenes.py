"""The world of the demo model: one subject on a coloured ground, drawn with distance fields, and its caption.

A distance field gives a shape's edge, its shadow and its light at once, and the effects (`effects.py`) bend it.
Coordinates: x to the right, y down, both in [-1, 1]; colours are RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

SIZE = 96  # pixels
SHAPES = ("circle", "square", "triangle", "star", "heart", "moon", "cross", "diamond")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.11, 0.12),
    "orange": (0.97, 0.50, 0.07),
    "yellow": (0.98, 0.85, 0.13),
    "green": (0.13, 0.62, 0.25),
    "blue": (0.12, 0.33, 0.85),
    "purple": (0.50, 0.18, 0.68),
    "pink": (0.98, 0.53, 0.72),
    "white": (0.98, 0.98, 0.97),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
PAPER = "paper"  # the ground of a caption that names none
GROUNDS: dict[str, tuple[float, float, float]] = {
    PAPER: (0.86, 0.80, 0.69),
    "white": (0.96, 0.96, 0.95),
    "black": (0.06, 0.06, 0.07),
    "grey": (0.50, 0.51, 0.53),
    "red": (0.68, 0.14, 0.15),
    "green": (0.20, 0.47, 0.27),
    "blue": (0.17, 0.32, 0.66),
    "yellow": (0.94, 0.80, 0.30),
    "pink": (0.93, 0.66, 0.74),
}
MATERIALS = ("dust", "ink", "water")


@dataclass(frozen=True)
class Scene:
    """What one picture shows, and where."""

    shape: str
    colour: str
    texture: str = "plain"
    ground: str = PAPER
    x: float = 0.0
    y: float = 0.0
    size: float = 0.56  # half the subject's height
    angle: float = 0.0  # radians
    material: str = ""  # "", or one of MATERIALS
    amount: float = 0.0  # how far the subject has turned into its material, in [0, 1]
    seed: int = 0  # of the material's accidents


def is_held_out(scene: Scene) -> bool:
    """Whether this texture, colour and shape never meet in training: 32 of the 256 combinations, evenly spread."""
    return (SHAPES.index(scene.shape) + list(COLOURS).index(scene.colour) + 3 * TEXTURES.index(scene.texture)) % 8 == 5


def random_scene(rng: np.random.Generator, held_out: bool | None = False) -> Scene:
    """A scene that training may see (`held_out=False`), one of the held-out combinations (True), or either (None)."""
    while True:
        scene = Scene(
            shape=str(rng.choice(SHAPES)),
            colour=str(rng.choice(list(COLOURS))),
            texture=str(rng.choice(TEXTURES, p=(0.4, 0.2, 0.2, 0.2))),
            ground=str(rng.choice(list(GROUNDS), p=(0.28,) + (0.09,) * 8)),
            x=float(rng.uniform(-0.1, 0.1)),
            y=float(rng.uniform(-0.1, 0.1)),
            size=float(rng.uniform(0.5, 0.6)),
            angle=float(rng.uniform(-0.15, 0.15)),
            seed=int(rng.integers(2**31)),
        )
        if scene.colour != scene.ground and held_out in (None, is_held_out(scene)):
            return scene


def with_material(scene: Scene, material: str, amount: float) -> Scene:
    return replace(scene, material=material, amount=amount)


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """The scene in words; with `rng`, in one of the several ways a person might type it."""
    words = [scene.colour, scene.shape] if scene.texture == "plain" else [scene.texture, scene.colour, scene.shape]
    if rng is not None and scene.texture != "plain" and rng.random() < 0.3:
        words[0], words[1] = words[1], words[0]
    article = "an" if words[0][0] in "aeiou" else "a"
    subject = " ".join(words)
    style = 0 if rng is None else int(rng.integers(4))
    text = f"{article} {subject}" if style < 3 else subject
    if scene.material:
        text += f" of {scene.material}"
    if scene.ground != PAPER:
        text += (
            f" on a {scene.ground} background",
            f" on {scene.ground}",
            f" on a {scene.ground} background",
            f", {scene.ground} background",
        )[style]
    if rng is not None and rng.random() < 0.1:
        text = str(rng.choice(("a picture of ", "a painting of ", "beautiful "))) + text
    return text


def draw(scene: Scene, size: int = SIZE) -> Array:
    """The picture of a scene: (size, size, 3) in [0, 1]."""
    if scene.material:
        from .effects import draw_material

        return draw_material(scene, size)
    x, y = grid(size)
    return paint(scene, ground(scene, x, y), x, y, x, y)


def paint(scene: Scene, under: Array, x: Array, y: Array, bent_x: Array, bent_y: Array) -> Array:
    """The subject over the picture `under`, its field read at the bent coordinates; the shadow stays straight."""
    under = under * (1 - 0.38 * shadow(scene, x, y))[..., None]
    inside = coverage(field(scene, bent_x, bent_y), x.shape[0])
    return over(under, surface(scene, bent_x, bent_y), inside)


def grid(size: int) -> tuple[Array, Array]:
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
