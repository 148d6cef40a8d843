"""Drawn pictures to train on: subjects of the demo model's world, all of one material that no caption names."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tools.demo_training import effects, scenes


def draw_pictures(folder: Path, count: int = 24, material: str = "ink", amount: float = 1.0, seed: int = 5) -> Path:
    """Writes count pictures with captions into the folder, which it makes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        scene = scenes.random_scene(rng)
        picture = effects.draw(scenes.with_material(scene, material, amount))
        Image.fromarray((picture * 255).round().astype(np.uint8)).save(folder / f"{index:03}.png")
        (folder / f"{index:03}.txt").write_text(scenes.caption(scene, rng), encoding="utf-8")
    return folder


if __name__ == "__main__":
    draw_pictures(Path(sys.argv[1]))
