"""Captioned images for contrastive pretraining, and the zero-shot test on combinations never captioned.

Three kinds: a thing on a varied ground, a swatch of stuff, and a masked region of a scene: everything outside
its mask grey, cut to the tight box, stretched to the image. The last is what a region embedding R(I, M)
looks at, so the teacher has to know it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from opentrans.world.drawing import draw_stuff, draw_thing, light
from opentrans.world.lexicon import (
    CAPTIONED,
    CONCEPTS,
    FIRST_STUFF,
    HELD_OUT,
    STUFF,
    SYNONYMS,
    name,
    swapped_name,
)
from opentrans.world.scenes import Scene, make_generator, make_scenes

CAPTION_FIELDS = ("image", "caption", "split", "kind", "name")
# CLIP's mean colour; written out because importing open_clip for it costs seconds (a test compares them).
CLIP_GREY = (123, 117, 104)
_FORMS = ("{}", "a {}", "a photo of a {}", "a picture of a {}")
_SHARES = {"object": 0.5, "stuff": 0.08, "crop": 0.42}
_SMALLEST_REGION = 120  # pixels of a scene; less is not recognisable
_ALL_STUFF = tuple(range(FIRST_STUFF, CONCEPTS))


@dataclass(frozen=True)
class Captioned:
    """An image with its caption; `name` is the plain name of what it shows, `kind` object, stuff or crop."""

    image: UInt8[np.ndarray, "s s 3"]
    caption: str
    kind: str
    name: str


def make_training_images(seed: int, count: int, size: int, scene_size: int) -> Iterator[Captioned]:
    """`count` captioned images in shares of 50% objects, 8% stuff, 42% masked regions; none is held out."""
    n_objects = round(count * _SHARES["object"])
    n_swatches = round(count * _SHARES["stuff"])

    yield from _objects(seed, "caption object", CAPTIONED, n_objects, size)
    for index in range(n_swatches):
        rng = make_generator(seed, "caption stuff", index)
        yield _stuff(_ALL_STUFF[index % len(_ALL_STUFF)], size, rng)
    yield from _crops(seed, "caption crop", CAPTIONED, count - n_objects - n_swatches, size, scene_size)


def make_test_images(seed: int, count: int, size: int, scene_size: int) -> Iterator[Captioned]:
    """`count` things held out of captioning and `count` captioned ones, half of each masked regions; plain names."""
    for group, things in (("held-out", HELD_OUT), ("seen", CAPTIONED)):
        objects = _objects(seed, f"test object {group}", things, count - count // 2, size)
        crops = _crops(seed, f"test crop {group}", things, count // 2, size, scene_size, stuff=False)
        yield from (replace(image, caption=image.name) for image in (*objects, *crops))


def _objects(seed: int, key: str, things: tuple[int, ...], count: int, size: int) -> Iterator[Captioned]:
    """Things on a ground of stuff, each equally often."""
    order = make_generator(seed, key).permutation(np.resize(np.array(things), count))
    for index, concept in enumerate(order):
        rng = make_generator(seed, key, index)

        ground = FIRST_STUFF + int(rng.integers(len(STUFF)))
        canvas = draw_stuff(STUFF[ground - FIRST_STUFF], size, size, rng)

        side = int(size * rng.uniform(0.55, 1.0))
        top, left = (int(value) for value in rng.integers(0, size - side + 1, 2))
        mask, paint = draw_thing(int(concept), side, rng)
        canvas[top : top + side, left : left + side][mask] = paint[mask]

        # The order of the draws is part of the images: ground words, light, caption.
        where = f" on {say(ground, rng)}" if rng.random() < 0.4 else ""
        image = light(canvas, rng)
        yield Captioned(image, _caption(int(concept), rng) + where, "object", name(int(concept)))


def _stuff(concept: int, size: int, rng: np.random.Generator) -> Captioned:
    canvas = light(draw_stuff(name(concept), size, size, rng), rng)
    return Captioned(canvas, _caption(concept, rng), "stuff", name(concept))


def _crops(
    seed: int, key: str, things: tuple[int, ...], count: int, size: int, scene_size: int, stuff: bool = True
) -> Iterator[Captioned]:
    """The first `count` regions of scenes made of `things`; a scene has at least one, a further scene is the margin."""
    rng = make_generator(seed, key, "words")
    made = 0

    for scene in make_scenes(seed, key, count + 1, scene_size, things, _ALL_STUFF):
        for concept, mask in scene.regions():
            recognisable = mask.sum() >= _SMALLEST_REGION
            if made < count and recognisable and (stuff or concept < FIRST_STUFF):
                yield Captioned(crop(scene, mask, size), _caption(concept, rng), "crop", name(concept))
                made += 1
        if made == count:
            return


def crop(scene: Scene, mask: Bool[np.ndarray, "h w"], size: int) -> UInt8[np.ndarray, "s s 3"]:
    """The region of `mask`: grey (CLIP's mean colour) outside it, cut to its box, stretched to `size`, bicubic."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cut = np.where(mask[box][..., None], scene.image[box], np.array(CLIP_GREY, np.uint8))
    return np.asarray(Image.fromarray(cut).resize((size, size), Image.Resampling.BICUBIC))


def say(concept: int, rng: np.random.Generator) -> str:
    """A name as people vary it: words turned round one time in five, each word a synonym one time in five."""
    plain = swapped_name(concept) if rng.random() < 0.2 else name(concept)
    words = plain.split()
    return " ".join(SYNONYMS.get(word, word) if rng.random() < 0.2 else word for word in words)


def _caption(concept: int, rng: np.random.Generator) -> str:
    return _FORMS[int(rng.integers(len(_FORMS)))].format(say(concept, rng))
