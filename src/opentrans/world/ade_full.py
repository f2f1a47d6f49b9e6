"""The stand-in for the full ADE20K (2021_17_01): a pickled index and class numbers coded in red and green."""

import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from opentrans.world.layouts import make_table, save_image
from opentrans.world.lexicon import FIRST_STUFF, VOCABULARIES, comma_name
from opentrans.world.scenes import Scene

RELEASE = "ADE20K_2021_17_01"
_VOCABULARY = VOCABULARIES["ade847"]
# Things outside the vocabulary: each occurs in one split only, so that the preparation has something to drop.
_STRANGE = tuple(concept for concept in range(FIRST_STUFF) if concept not in _VOCABULARY.things)
STRANGE_IN = {"train": _STRANGE[::2], "val": _STRANGE[1::2]}
# Numbers beyond 256 use both bytes: the real index has 3688 names, of which 847 are kept.
_NUMBERS = {concept: number for number, concept in enumerate(sorted((*_VOCABULARY.concepts, *_STRANGE)), start=150)}
_FULL_NAMES = [f"unused {number}" for number in range(1, 150)] + [comma_name(concept) for concept in _NUMBERS]


def write_ade847(root: Path, training: Iterable[Scene], validation: Iterable[Scene]) -> None:
    """Images, ``*_seg.png`` and ``index_ade20k.pkl`` of both splits."""
    names: list[str] = []
    folders: list[str] = []
    presence: list[np.ndarray] = []
    for split, folder, scenes in (("train", "training", training), ("val", "validation", validation)):
        for number, scene in enumerate(scenes, start=1):
            scene_folder = f"{RELEASE}/images/ADE/{folder}/town/{('street', 'square')[number % 2]}"
            names.append(f"ADE_{split}_{number:08d}.jpg")
            folders.append(scene_folder)
            presence.append(_write_scene(root / scene_folder, names[-1].removesuffix(".jpg"), scene))

    index = {
        "description": "mini world",
        "filename": names,
        "folder": folders,
        "objectnames": _FULL_NAMES,
        "objectPresence": np.stack(presence, axis=1),
    }
    (root / RELEASE / "index_ade20k.pkl").write_bytes(pickle.dumps(index, protocol=4))


def _write_scene(folder: Path, stem: str, scene: Scene) -> np.ndarray:
    """Write one scene and count its regions of each name."""
    numbers = make_table(list(_NUMBERS), list(_NUMBERS.values()), 0)[scene.concepts]
    coded = np.stack([numbers // 256 * 10, numbers % 256, scene.objects], -1).astype(np.uint8)
    save_image(folder / f"{stem}.jpg", scene.image)
    save_image(folder / f"{stem}_seg.png", coded)

    positions = [_NUMBERS[concept] - 1 for concept, _ in scene.regions()]
    return np.bincount(positions, minlength=len(_FULL_NAMES)).astype(np.int64)
