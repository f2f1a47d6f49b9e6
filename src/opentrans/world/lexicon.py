"""The words of the mini world: 180 things (colour x pattern x shape), ten kinds of stuff, seven vocabularies.

A concept is a number: 0..179 are things, 180..189 stuff. The language is the same for every seed; a seed
changes the images only.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from opentrans.errors import UserError

_COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
PATTERNS = ("plain", "striped", "dotted", "checkered", "ringed")
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
STUFF = ("sky", "brick", "sand", "water", "grass", "wood", "gravel", "snow", "asphalt", "tile")
SYNONYMS = {
    "red": "crimson",
    "blue": "azure",
    "yellow": "golden",
    "striped": "banded",
    "dotted": "spotted",
    "circle": "disc",
    "square": "box",
    "water": "sea",
    "grass": "lawn",
}
# What a tagger would call the nouns of a caption, synonyms among them.
NOUNS = tuple(form for word in (*SHAPES, *STUFF) for form in (word, SYNONYMS.get(word)) if form is not None)
THINGS = tuple(product(_COLOURS, PATTERNS, SHAPES))
FIRST_STUFF = len(THINGS)
CONCEPTS = FIRST_STUFF + len(STUFF)
# One pattern in five is withheld from each pair of colour and shape: every word and every pair is captioned.
HELD_OUT = tuple(
    index
    for index, (colour, pattern, shape) in enumerate(THINGS)
    if (_COLOURS.index(colour) + 2 * PATTERNS.index(pattern) + 3 * SHAPES.index(shape)) % len(PATTERNS) == 0
)
CAPTIONED = tuple(index for index in range(FIRST_STUFF) if index not in HELD_OUT)


def name(concept: int) -> str:
    """The plain name: ``red striped circle``, ``sand``."""
    return " ".join(THINGS[concept]) if concept < FIRST_STUFF else STUFF[concept - FIRST_STUFF]


def swapped_name(concept: int) -> str:
    """The name in the other word order: ``striped red circle``."""
    if concept >= FIRST_STUFF:
        return name(concept)
    colour, pattern, shape = THINGS[concept]
    return f"{pattern} {colour} {shape}"


def synonym(words: str) -> str:
    """`words` with every word that has one replaced by its synonym (unchanged if none has)."""
    return " ".join(SYNONYMS.get(word, word) for word in words.split())


@dataclass(frozen=True)
class WorldVocabulary:
    """Classes of one benchmark, in its class order: things first, then stuff."""

    things: tuple[int, ...]
    stuff: tuple[int, ...]

    @property
    def concepts(self) -> tuple[int, ...]:
        """All of them; the position is the class index."""
        return self.things + self.stuff


def _make_vocabularies() -> dict[str, WorldVocabulary]:
    """Draw the seven vocabularies: so many things of segmentation training, unseen things, kinds of stuff."""
    rng = np.random.default_rng(20240407)
    trained = tuple(int(index) for index in rng.permutation(CAPTIONED)[:40])
    unseen = tuple(int(i) for i in rng.permutation([i for i in range(FIRST_STUFF) if i not in trained]))

    # pc59 takes the first of what pc459 takes, because their images and label maps are shared.
    sizes = {
        "coco": (40, 0, 10),
        "ade847": (40, 120, 10),
        "ade150": (22, 40, 8),
        "pc459": (30, 80, 10),
        "cityscapes": (7, 8, 4),
        "pas20": (4, 8, 0),
    }
    vocabularies = {key: _draw(rng, trained, unseen, size) for key, size in sizes.items()}

    wide = vocabularies["pc459"]
    seen_things = [index for index in wide.things if index in trained][:18]
    unseen_things = [index for index in wide.things if index in unseen][:16]
    vocabularies["pc59"] = WorldVocabulary(tuple(sorted(seen_things + unseen_things)), wide.stuff[:8])

    return vocabularies


def _draw(
    rng: np.random.Generator, trained: tuple[int, ...], unseen: tuple[int, ...], size: tuple[int, int, int]
) -> WorldVocabulary:
    things = (*rng.choice(trained, size[0], replace=False), *rng.choice(unseen, size[1], replace=False))
    stuff = rng.choice(len(STUFF), size[2], replace=False) + FIRST_STUFF
    return WorldVocabulary(tuple(sorted(int(i) for i in things)), tuple(sorted(int(i) for i in stuff)))


VOCABULARIES = _make_vocabularies()


def written_names(benchmark: str) -> list[str]:
    """Class names in the style of a benchmark, by class index.

    COCO hangs ``-merged`` and ``-other`` on its stuff, ADE20K lists synonyms with commas, PASCAL-Context turns
    the words round, VOC speaks in synonyms, Cityscapes plainly.
    """
    if benchmark not in VOCABULARIES:
        problem = "the mini world has no such vocabulary"
        raise UserError(f"benchmark {benchmark}", problem, f"take one of {[*VOCABULARIES]}")

    concepts = VOCABULARIES[benchmark].concepts
    if benchmark == "coco":
        return [_coco_name(concept) for concept in concepts]
    if benchmark in ("ade150", "ade847"):
        return [comma_name(concept) for concept in concepts]
    if benchmark in ("pc59", "pc459"):
        return [swapped_name(concept) for concept in concepts]
    if benchmark == "pas20":
        return [synonym(name(concept)) for concept in concepts]
    return [name(concept) for concept in concepts]


def comma_name(concept: int) -> str:
    """The plain name and, if there is one, the synonym, separated by a comma."""
    plain = name(concept)
    return plain if synonym(plain) == plain else f"{plain}, {synonym(plain)}"


def _coco_name(concept: int) -> str:
    suffixes = ("-other-merged", "-merged", "-other", "")
    return name(concept) + (suffixes[concept % len(suffixes)] if concept >= FIRST_STUFF else "")
