"""The world of the demo model: scenes of one subject on a coloured ground, and their captions.

Colours are RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SIZE = 96
"""Pixels along each side of a picture."""

SHAPES = ("circle", "square", "triangle", "star", "heart", "moon", "cross", "diamond")
"""The shapes of subjects."""
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
"""Colours of subjects, RGB in [0, 1]."""
TEXTURES = ("plain", "striped", "dotted", "checkered")
"""What covers a subject."""
PAPER = "paper"
"""The ground of a caption that names none."""
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
"""Colours of grounds, RGB in [0, 1]."""
MATERIALS = ("dust", "ink", "water")
"""What a subject can turn into."""


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
    """The scene with its subject turned into a material by this amount."""
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
