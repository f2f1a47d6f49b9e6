"""Scenes: two to five things over one or two kinds of stuff, with what is where."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Int, UInt8

from opentrans.world.drawing import draw_stuff, draw_thing, light
from opentrans.world.lexicon import FIRST_STUFF, STUFF, name

_MOST_OVERLAP = 0.2  # of the new object's box with what is there already
_UNLABELLED = -1


def make_generator(seed: int, *key: str | int) -> np.random.Generator:
    """An independent random stream for each image, so that no image depends on how many came before."""
    return np.random.default_rng([seed, *(crc32(part.encode()) if isinstance(part, str) else part for part in key)])


@dataclass(frozen=True)
class Scene:
    """An image, the concept of every pixel (-1: unlabelled) and its object's number (0: stuff)."""

    image: UInt8[np.ndarray, "h w 3"]
    concepts: Int[np.ndarray, "h w"]
    objects: Int[np.ndarray, "h w"]

    @property
    def caption(self) -> str:
        """What is in it, by plain names."""
        shown = np.unique(self.concepts[self.concepts >= 0])
        things = [f"a {name(int(concept))}" for concept in shown if concept < FIRST_STUFF]
        stuff = [name(int(concept)) for concept in shown if concept >= FIRST_STUFF]
        return " and ".join(things) + " on " + " and ".join(stuff)

    def regions(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every object and every kind of stuff: concept and mask."""
        keys = np.where(self.objects > 0, self.objects + FIRST_STUFF + len(STUFF), self.concepts)
        for key in np.unique(keys[keys >= 0]):
            mask = keys == key
            yield int(self.concepts[mask][0]), mask


def make_scenes(
    seed: int, key: str, count: int, size: int, things: Sequence[int], stuff: Sequence[int], strange: Sequence[int] = ()
) -> Iterator[Scene]:
    """`count` scenes of `size` x `size` pixels; every thing comes up about equally often.

    One scene in four also holds a thing out of `strange` (what a data set shows but does not name).
    """
    rng = make_generator(seed, key)
    sizes = rng.integers(2, 6, count)

    # As with cards: every thing is dealt once before any is dealt again.
    rounds = math.ceil(int(sizes.sum()) / len(things))
    deck = np.concatenate([rng.permutation(things) for _ in range(rounds)])

    for index, start in enumerate(np.cumsum(sizes) - sizes):
        image_rng = make_generator(seed, key, index)
        chosen = [int(concept) for concept in deck[start : start + sizes[index]]]
        if len(strange) > 0 and image_rng.random() < 0.25:
            chosen.insert(0, int(image_rng.choice(strange)))
        yield draw_scene(chosen, stuff, size, image_rng)


def draw_scene(things: Sequence[int], stuff: Sequence[int], size: int, rng: np.random.Generator) -> Scene:
    """One scene; things that find no free place are left out."""
    canvas, concepts = _draw_ground(stuff, size, rng)
    objects = np.zeros((size, size), np.int32)

    for number, concept in enumerate(things, start=1):
        side = int(size * rng.uniform(0.27, 0.46))
        corner = _find_corner(objects, side, rng)
        if corner is None:
            continue

        top, left = corner
        box = np.s_[top : top + side, left : left + side]
        mask, paint = draw_thing(concept, side, rng)
        canvas[box][mask] = paint[mask]
        concepts[box][mask] = concept
        objects[box][mask] = number

    return Scene(light(canvas, rng), concepts, objects)


def _draw_ground(stuff: Sequence[int], size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One or two textures; a line of unlabelled pixels parts them, as annotators leave one."""
    kinds = [int(kind) for kind in rng.permutation(stuff)[:2]]
    canvas = draw_stuff(STUFF[kinds[0] - FIRST_STUFF], size, size, rng)
    concepts = np.full((size, size), kinds[0], np.int32)

    if len(kinds) == 2 and rng.random() < 0.6:
        x = np.linspace(-1, 1, size)
        edge = size * (rng.uniform(0.3, 0.7) + rng.uniform(-0.2, 0.2) * x + 0.04 * np.sin(4 * x + rng.uniform(0, 6)))

        below = np.arange(size)[:, None] - edge[None]
        canvas = np.where(below[..., None] > 0, draw_stuff(STUFF[kinds[1] - FIRST_STUFF], size, size, rng), canvas)
        concepts[below > 0] = kinds[1]
        concepts[np.abs(below) < 0.7] = _UNLABELLED

    return canvas, concepts


def _find_corner(objects: Int[np.ndarray, "h w"], side: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """Top and left of a box with little in it, or None if a dozen draws find none."""
    for _ in range(12):
        top, left = (int(value) for value in rng.integers(0, objects.shape[0] - side + 1, 2))
        if np.mean(objects[top : top + side, left : left + side] > 0) <= _MOST_OVERLAP:
            return top, left
    return None
