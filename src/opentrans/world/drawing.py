"""Drawing: masks of shapes, ink of patterns, textures of stuff. Arrays only, no image library.

Object coordinates run from -1 to 1 over the object's box, v upwards; texture coordinates are pixels.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, UInt8

from opentrans.world.lexicon import THINGS

Plane = Float[np.ndarray, "h w"]
Line = Float[np.ndarray, " n"]
Colour = tuple[int, int, int]

_PAINT: dict[str, Colour] = {
    "red": (205, 40, 45),
    "green": (40, 165, 60),
    "blue": (45, 75, 215),
    "yellow": (235, 205, 45),
    "purple": (145, 45, 165),
    "white": (238, 238, 236),
}


def _star(u: Plane, v: Plane) -> np.ndarray:
    turn = 2 * np.pi / 5
    from_tip = np.abs((np.arctan2(u, v) + turn / 2) % turn - turn / 2)
    return np.asarray(np.hypot(u, v) < 0.42 + 0.56 * (1 - from_tip / (turn / 2)) ** 1.6)


def _heart(u: Plane, v: Plane) -> np.ndarray:
    x, y = 1.22 * u, 1.22 * v + 0.15
    return np.asarray((x * x + y * y - 1) ** 3 < x * x * y**3)


SHAPE_MASKS: dict[str, Callable[[Plane, Plane], np.ndarray]] = {
    "circle": lambda u, v: u * u + v * v < 0.86,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) < 0.78,
    "triangle": lambda u, v: (v > -0.72) & (np.abs(u) < 0.56 * (0.92 - v)),
    "star": _star,
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) < 0.31) & (np.maximum(np.abs(u), np.abs(v)) < 0.9),
    "heart": _heart,
}
PATTERN_INK: dict[str, Callable[[Plane, Plane], np.ndarray]] = {
    "plain": lambda u, v: np.zeros(u.shape, bool),
    "striped": lambda u, v: v % 0.5 < 0.24,
    "dotted": lambda u, v: (u % 0.5 - 0.25) ** 2 + (v % 0.5 - 0.25) ** 2 < 0.024,
    "checkered": lambda u, v: (u % 0.76 < 0.38) ^ (v % 0.76 < 0.38),
    "ringed": lambda u, v: np.hypot(u, v) % 0.42 < 0.2,
}


@lru_cache(maxsize=256)
def _axes(size: int) -> tuple[Plane, Plane]:
    line = (2 * (np.arange(size, dtype=np.float32) + 0.5) / size) - 1
    x = np.broadcast_to(line, (size, size))
    y = np.broadcast_to(-line[:, None], (size, size))
    return x, y


def draw_thing(
    concept: int, size: int, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "s s"], Float[np.ndarray, "s s 3"]]:
    """Mask and paint (0..255) of a thing in a box of `size` pixels: tilted, phase-shifted, its colour varied."""
    colour, pattern, shape = THINGS[concept]
    angle, shift_u, shift_v = rng.uniform(-0.3, 0.3, 3)

    x, y = _axes(size)
    u = (np.cos(angle) * x - np.sin(angle) * y).astype(np.float32)
    v = (np.sin(angle) * x + np.cos(angle) * y).astype(np.float32)

    # Rings stay concentric with the object; the other patterns slide under it.
    shift = (0.0, 0.0) if pattern == "ringed" else (shift_u, shift_v)
    ink = PATTERN_INK[pattern](u + np.float32(shift[0]), v + np.float32(shift[1]))

    paint = np.clip(np.array(_PAINT[colour]) + rng.normal(0, 10, 3), 0, 255).astype(np.float32)
    dark = paint * np.float32(rng.uniform(0.15, 0.35))
    return SHAPE_MASKS[shape](u, v), np.where(ink[..., None], dark, paint)


def _fine(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    return rng.standard_normal((y.size, x.size), np.float32) * np.float32(0.6)


def _blocks(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    cells = rng.standard_normal((64, 64), np.float32)
    return np.asarray(cells[np.ix_((y // 3).astype(int) % 64, (x // 3).astype(int) % 64)])


def _clouds(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    a, b, c = rng.uniform(0, 6.28, 3).astype(np.float32)
    soft = np.sin(0.09 * x[None] + a) * np.sin(0.12 * y[:, None] + b)
    return np.asarray(soft + 0.5 * np.sin(0.17 * (x[None] + y[:, None]) + c))


def _brick(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    row = (y // 8).astype(int)
    mortar = ((x[None] + 7 * (row[:, None] % 2)) % 14 < 2) | (y[:, None] % 8 < 2)
    return np.where(mortar, np.float32(1.6), np.float32(-0.2)) + 0.3 * _fine(y, x, rng)


def _waves(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    return np.sin(0.75 * y[:, None] + 1.6 * np.sin(0.16 * x[None] + np.float32(rng.uniform(0, 6.28))))


def _blades(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    cells = rng.standard_normal((32, 256), np.float32)
    return np.asarray(cells[np.ix_((y // 6).astype(int) % 32, x.astype(int) % 256)])


def _grain(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    cells = rng.standard_normal(256).astype(np.float32)
    return np.asarray(cells[((y[:, None] + 2 * np.sin(0.07 * x[None])) // 2).astype(int) % 256])


def _tiles(y: Line, x: Line, rng: np.random.Generator) -> Plane:
    joint = (y[:, None] % 13 < 2) | (x[None] % 13 < 2)
    return np.where(joint, np.float32(-1.5), np.float32(0.3)) + 0.1 * _fine(y, x, rng)


_TEXTURES: dict[str, tuple[Colour, float, Callable[[Line, Line, np.random.Generator], Plane]]] = {
    "sky": ((140, 185, 230), 20, _clouds),
    "brick": ((150, 85, 65), 38, _brick),
    "sand": ((205, 180, 130), 22, _fine),
    "water": ((50, 120, 140), 28, _waves),
    "grass": ((75, 115, 45), 30, _blades),
    "wood": ((130, 90, 55), 22, _grain),
    "gravel": ((130, 128, 122), 36, _blocks),
    "snow": ((225, 230, 238), 7, _clouds),
    "asphalt": ((62, 62, 68), 14, _fine),
    "tile": ((185, 205, 195), 40, _tiles),
}


def draw_stuff(texture: str, height: int, width: int, rng: np.random.Generator) -> Float[np.ndarray, "h w 3"]:
    """A texture of `height` x `width` pixels, 0..255, at a random scale (0.8 to 1.4), phase and tint."""
    base, contrast, shade = _TEXTURES[texture]
    scale, top, left = rng.uniform((0.7, 0, 0), (1.25, 90, 90)).astype(np.float32)
    y = np.arange(height, dtype=np.float32) * scale + top
    x = np.arange(width, dtype=np.float32) * scale + left
    tint = (np.array(base) + rng.normal(0, 7, 3)).astype(np.float32)
    return tint + np.float32(contrast) * shade(y, x, rng).astype(np.float32)[..., None]


@lru_cache(maxsize=16)
def _slopes(height: int, width: int) -> tuple[Float[np.ndarray, "1 w"], Float[np.ndarray, "h 1"]]:
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return x, y


def light(image: Float[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Uneven light (a brightness 0.75 to 1.1 and a slope across the image) and sensor noise; rounded to bytes."""
    height, width = image.shape[:2]
    level, slope_y, slope_x = rng.uniform((0.75, -0.15, -0.15), (1.1, 0.15, 0.15)).astype(np.float32)
    x, y = _slopes(height, width)

    # In place, because the image is large beside everything else here.
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= np.float32(6)
    noise += image * (level + slope_y * y + slope_x * x)[..., None]
    return np.asarray(np.rint(noise.clip(0, 255, out=noise), out=noise).astype(np.uint8))
