"""What the finished demo does: does it follow the prompt, how fast is it, does the effect grow with the strength."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from hypernet.app.demo import NETWORKS, WEIGHTS, load_demo
from hypernet.pipeline.hypernetworks import Hypernetworks
from tools.demo_training.check import agrees, read
from tools.demo_training.effects import draw
from tools.demo_training.scenes import SIZE, caption, random_scene

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The strengths that are measured and shown."""
NAMES = ("disperse", "ink", "water")
"""The networks."""
STEPS, GUIDANCE = 20, 3.0
"""How pictures are drawn."""
STRIP = {"disperse": ("a red circle", 0), "ink": ("a blue star on white", 1), "water": ("a yellow heart on black", 2)}
"""Network -> prompt and seed of its row in the README's picture."""


def evaluate() -> None:
    """Prints every figure the documents give for the demo."""
    pipe = Hypernetworks(load_demo(), NETWORKS)
    follow_prompts(pipe)
    time_one(pipe)
    grow_with_strength(pipe)
    size = sum(f.stat().st_size for folder in (WEIGHTS, NETWORKS) for f in folder.rglob("*") if f.is_file())
    print(f"size: {size / 1e6:.1f} MB")


def follow_prompts(pipe: Any, count: int = 200) -> None:
    """Prompts of combinations that no training picture showed, each with a seed of its own."""
    rng = np.random.default_rng(99)
    scenes = [random_scene(rng, held_out=True) for _ in range(count)]
    truth = [agrees(read(draw(s)), s) for s in scenes]
    print(f"the check on drawings of the same scenes: {np.mean(truth):.1%}")
    readings = [read(p) for p in generate(pipe, [caption(s) for s in scenes], seed=1000)]
    pairs = list(zip(readings, scenes, strict=True))
    for reading, scene in pairs:
        if not agrees(reading, scene):
            seen = f"{reading.colour} {reading.shape or 'no clear shape'}"
            print(f"  asked: {caption(scene):52s} seen: {seen} ({reading.overlap:.2f})")
    print(f"colour and shape as asked: {np.mean([agrees(r, s) for r, s in pairs]):.1%} of {count} held-out prompts")
    print(f"ground as asked: {np.mean([r.ground == s.ground for r, s in pairs]):.1%}")


def time_one(pipe: Any) -> None:
    """Prints the median time of a picture."""
    seconds = []
    for seed in range(5):
        began = time.perf_counter()
        generate(pipe, ["a red circle <hypernet:ink:0.7>"], seed)
        seconds.append(time.perf_counter() - began)
    print(f"one picture, {STEPS} steps, {torch.get_num_threads()} threads: {np.median(seconds):.2f} s")


def grow_with_strength(pipe: Any, count: int = 40) -> None:
    """Mean absolute difference to the picture at strength 0, in [0, 1], over prompts and seeds."""
    rng = np.random.default_rng(98)
    prompts = [caption(random_scene(rng)) for _ in range(count)]
    for name in NAMES:
        rows = [generate(pipe, tagged(prompts, name, s), seed=2000) for s in STRENGTHS]
        distance = np.stack([np.abs(row - rows[0]).mean((1, 2, 3)) for row in rows])  # (strengths, prompts)
        rising = (np.diff(distance, axis=0) > 0).all(0).mean()
        means = ", ".join(f"{d:.4f}" for d in distance.mean(1))
        print(f"{name}: distance at {STRENGTHS}: {means}; rises at every step for {rising:.0%} of {count} prompts")


def strip(file: Path = Path("docs/images/strip.png")) -> None:
    """The README's picture: a row for each network, a column for each strength."""
    pipe = Hypernetworks(load_demo(), NETWORKS)
    gap, left, top, side = 8, 92, 34, 2 * SIZE
    sheet = Image.new("RGB", (left + len(STRENGTHS) * (side + gap), top + len(STRIP) * (side + gap)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, strength in enumerate(STRENGTHS):
        pen.text((left + column * (side + gap) + side // 2, top // 2), f"{strength:g}", "#444", font, anchor="mm")
    for row, (name, (prompt, seed)) in enumerate(STRIP.items()):
        y = top + row * (side + gap)
        pen.text((left - 10, y + side // 2), name, "#444", font, anchor="rm")
        for column, strength in enumerate(STRENGTHS):
            (picture,) = generate(pipe, tagged([prompt], name, strength), seed)
            image = Image.fromarray((picture * 255).round().astype(np.uint8))
            image = image.resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(image, (left + column * (side + gap), y))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, optimize=True)
    print(file)


def tagged(prompts: list[str], name: str, strength: float) -> list[str]:
    """The prompts, each with a tag."""
    return [f"{prompt} <hypernet:{name}:{strength}>" for prompt in prompts]


def generate(pipe: Any, prompts: list[str], seed: int) -> Any:
    """A picture for each prompt, the n-th from the seed `seed + n`: (prompts, size, size, 3) in [0, 1]."""
    pictures = []
    for start in range(0, len(prompts), 20):
        part = prompts[start : start + 20]
        seeds = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        done = pipe(part, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=seeds, output_type="np")
        pictures.append(done.images)
    return np.concatenate(pictures)
