"""Pictures of scenes, with what the hypernetworks learn to do: break a subject into dust, smudge it, turn it to water.

Each effect has an amount in [0, 1]; at 0 it is the plain picture. All bend the distance fields of `painting.py`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tools.demo_training.painting import Array, coverage, field, grid, ground, local, over, paint, shadow, surface
from tools.demo_training.scenes import SIZE, Scene

INK = np.asarray((0.07, 0.07, 0.13), np.float32)
"""The colour of ink."""
SHALLOW = np.asarray((0.16, 0.62, 0.84), np.float32)
"""The colour of shallow water."""
DEEP = np.asarray((0.02, 0.20, 0.56), np.float32)
"""The colour of deep water."""
FOAM = np.asarray((0.88, 0.97, 1.0), np.float32)
"""The colour of foam."""


def draw(scene: Scene, size: int = SIZE) -> Array:
    """The picture of a scene, its subject turned by `scene.amount` into `scene.material`: (size, size, 3) in [0, 1]."""
    if scene.material:
        return {"dust": draw_dust, "ink": draw_ink, "water": draw_water}[scene.material](scene, size)
    x, y = grid(size)
    return paint(scene, ground(scene, x, y), x, y, x, y)


def draw_dust(scene: Scene, size: int) -> Array:
    """The subject crumbles from its right side; crumbs keep their colour, shrink, and drift to the upper right."""
    x, y = grid(size)
    rng = np.random.default_rng(scene.seed)
    under = ground(scene, x, y)
    edge = 1.15 - 1.7 * scene.amount  # in the subject's own u: right of it everything has crumbled
    u, v = local(scene, x, y)
    bite = u - edge + min(1.0, 3 * scene.amount) * (0.16 * np.sin(v * 9 + 1.0) + 0.1 * np.sin(v * 17))
    left = np.maximum(field(scene, x, y), bite * scene.size)
    kept = coverage(left, size)
    picture = under * (1 - 0.38 * shadow(scene, x, y) * np.clip(0.7 - bite, 0, 1))[..., None]
    picture = over(picture, surface(scene, x, y), kept)
    for px, py, radius, colour in _crumbs(scene, edge, rng):
        _dab(picture, px, py, radius, colour)
    return picture


def _crumbs(scene: Scene, edge: float, rng: np.random.Generator) -> list[tuple[float, float, float, Array]]:
    """Each crumb's place, radius and colour: the subject cut into a loose lattice, farther right = farther gone."""
    pitch = 0.15
    axis = np.arange(-0.75, 0.76, pitch, dtype=np.float32)
    gx: Array
    gy: Array
    gx, gy = (g.ravel() for g in np.meshgrid(axis, axis))
    gx = gx + rng.uniform(-0.3, 0.3, gx.shape).astype(np.float32) * pitch
    gy = gy + rng.uniform(-0.3, 0.3, gy.shape).astype(np.float32) * pitch
    u, _ = local(scene, gx, gy)
    gone = u - edge
    chosen = (field(scene, gx, gy) < 0.01) & (gone > -0.12)
    gx, gy, gone = gx[chosen], gy[chosen], np.clip(gone[chosen], 0, 2)
    colours = surface(scene, gx, gy)
    lift = rng.uniform(0.5, 1.0, gx.shape)
    gx = gx + 0.36 * gone**1.3 * lift
    gy = gy - 0.22 * gone**1.3 * lift + 0.05 * gone * rng.standard_normal(gx.shape)
    radius = np.clip(0.086 - 0.026 * gone, 0.045, None) * rng.uniform(0.85, 1.1, gx.shape)
    return [(float(a), float(b), float(r), c) for a, b, r, c in zip(gx, gy, radius, colours, strict=True)]


def _dab(picture: Array, px: float, py: float, radius: float, colour: Array) -> None:
    """One round dab of paint, in place, touching only the pixels around it."""
    size = picture.shape[0]
    cx, cy, reach = (px + 1) * size / 2 - 0.5, (py + 1) * size / 2 - 0.5, radius * size / 2 + 1
    x0, x1 = max(int(cx - reach), 0), min(int(cx + reach) + 2, size)
    y0, y1 = max(int(cy - reach), 0), min(int(cy + reach) + 2, size)
    if x0 >= x1 or y0 >= y1:
        return
    x, y = np.arange(x0, x1, dtype=np.float32) - cx, np.arange(y0, y1, dtype=np.float32) - cy
    alpha = np.clip(reach - 0.5 - np.hypot(x[None, :], y[:, None]), 0, 1)
    picture[y0:y1, x0:x1] = over(picture[y0:y1, x0:x1], colour, alpha)


def draw_ink(scene: Scene, size: int) -> Array:
    """The subject soaks into the ground as a dark wash: feathered edges, a darker rim, runs of ink below."""
    x, y = grid(size)
    rng = np.random.default_rng(scene.seed)
    t = scene.amount
    bx, by = _clouds(x, y, rng, 3.2), _clouds(x, y, rng, 3.2)
    fx, fy = x + t * 0.075 * bx, y + t * 0.075 * by
    d = field(scene, fx, fy)
    for _ in range(4):  # runs: the field, pulled down in narrow columns
        at = scene.x + rng.uniform(-0.8, 0.8) * scene.size
        width = rng.uniform(0.035, 0.06)
        length = t * rng.uniform(0.15, 0.5)
        column = np.exp(-((x - at) ** 2) / width**2)
        d = np.minimum(d, field(scene, fx, fy - length * column) + (1 - column) * 0.1)
    wash = np.clip(0.5 - d / (0.025 + 0.1 * t) + 0.35 * t * bx, 0, 1)
    halo = t * 0.45 * np.clip(0.5 - (d - 0.12) / 0.3, 0, 1) ** 1.5
    body = surface(scene, x, y)
    grey = body.mean(-1, keepdims=True)
    dark = INK + 0.16 * grey + 0.10 * body
    pool = np.clip(0.55 + 0.35 * bx * by - 1.2 * np.exp(-((d + 0.05) ** 2) / 0.004), 0, 1)[..., None]
    dark = dark + pool * 0.10
    colour = body + (dark - body) * t
    picture = ground(scene, x, y) * (1 - 0.38 * (1 - t) * shadow(scene, x, y))[..., None]
    picture = over(picture, np.broadcast_to(INK + 0.06, picture.shape), halo)
    return np.clip(over(picture, colour, wash), 0, 1)


def draw_water(scene: Scene, size: int) -> Array:
    """The subject becomes clear water: the ground shows through blue, rings of light run over it, its foot pools."""
    x, y = grid(size)
    rng = np.random.default_rng(scene.seed)
    t = scene.amount
    phase = rng.uniform(0, 2 * np.pi)
    wave = t * 0.035
    fx, fy = x + wave * np.sin(y * 13 + phase), y + wave * np.sin(x * 11 + phase)
    plain = paint(replace(scene, material=""), ground(scene, x, y), x, y, fx, fy)
    d = field(scene, fx, fy)
    foot = scene.y + 0.93 * scene.size
    pool = np.hypot((x - scene.x) / 1.25, (y - foot) / 0.34) - 0.62 * scene.size * t
    wet = np.minimum(d, pool) if t > 0.25 else d
    inside = coverage(wet, size)
    u, v = local(scene, x, y)
    a = np.sin(u * 3.4 + 1.1 * np.sin(v * 3.1 + phase)) + np.sin(v * 4.2 + 1.1 * np.sin(u * 2.7 + 2 * phase))
    rings = np.cos(np.hypot((x - scene.x) / 1.25, (y - foot) / 0.34) * 17)
    crest = np.where(wet < pool, np.exp(-(a * a) / 0.10), np.clip(rings, 0, 1) ** 2)
    blue = SHALLOW + (DEEP - SHALLOW) * np.clip(0.5 + 0.5 * v, 0, 1)[..., None]
    clear = ground(scene, x + 0.1 * u, y) * 0.25 + blue
    clear = clear + (FOAM - clear) * (0.7 * crest)[..., None]
    rim = np.exp(-((wet + 0.028) ** 2) / 0.0005)
    clear = clear + (FOAM - clear) * (0.8 * rim * np.clip(0.55 - 0.5 * u - 0.4 * v, 0.1, 1))[..., None]
    glint = np.exp(-((u + 0.3) ** 2 + (v + 0.38) ** 2) / 0.03)
    clear = clear + (1 - clear) * (0.9 * glint)[..., None]
    return np.clip(over(plain, clear, inside * t**0.8), 0, 1)


def _clouds(x: Array, y: Array, rng: np.random.Generator, frequency: float) -> Array:
    """Smooth noise with unit variance, about: a few plane waves in random directions."""
    total: Array = np.zeros_like(x)
    for _ in range(6):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        scale = frequency * rng.uniform(0.7, 2.6)
        total += np.sin((x * np.cos(angle) + y * np.sin(angle)) * scale + phase).astype(np.float32)
    total /= np.float32(3**0.5)
    return total
