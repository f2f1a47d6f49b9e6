"""The whole mini world: seven data sets in their official layouts, captions, and a manifest written last."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from opentrans.config import WorldConfig
from opentrans.data.sources.base import WORLD_MARKER
from opentrans.errors import UserError
from opentrans.system.files import sha256, write_json
from opentrans.system.folders import atomic_folder
from opentrans.system.pools import open_pool
from opentrans.world.ade_full import RELEASE, STRANGE_IN, write_ade847
from opentrans.world.captions import CAPTION_FIELDS, Captioned, make_test_images, make_training_images
from opentrans.world.layouts import (
    LayoutWriter,
    save_image,
    save_text,
    write_ade150,
    write_cityscapes,
    write_coco,
    write_pascal_context,
    write_voc2012,
)
from opentrans.world.lexicon import CONCEPTS, FIRST_STUFF, HELD_OUT, VOCABULARIES, name
from opentrans.world.scenes import Scene, make_scenes

# Key of `world.images`: vocabulary of the scenes, split, and who writes them.
SETS: dict[str, tuple[str, str, LayoutWriter]] = {
    "coco_train": ("coco", "train", write_coco),
    "coco_val": ("coco", "val", write_coco),
    "cityscapes": ("cityscapes", "val", write_cityscapes),
    "ade150": ("ade150", "val", write_ade150),
    "pas20": ("pas20", "val", write_voc2012),
    "pascal_context": ("pc459", "val", write_pascal_context),
}
ADE847_SETS = {"ade847_train": "train", "ade847": "val"}
_MANIFEST = "manifest.json"
_ENTRIES = {"coco", "cityscapes", "ADEChallengeData2016", RELEASE, "VOCdevkit", "captions", WORLD_MARKER, _MANIFEST}


def make_world(config: WorldConfig, root: Path) -> None:
    """Write the mini world of `config` into `root`, replacing an earlier one; equal seeds give equal bytes.

    Raises:
        UserError: `config.images` lacks or adds a set, or `root` holds something else.
    """
    wanted = SETS.keys() | ADE847_SETS.keys()
    if config.images.keys() != wanted:
        wrong = min(config.images.keys() ^ wanted)
        raise UserError(f"config: world.images.{wrong}", "missing or unknown set", f"give exactly {sorted(wanted)}")

    with atomic_folder(root, _ENTRIES) as folder:
        with open_pool(2) as pool:
            parts = [pool.submit(write, config, folder) for write in (_write_sets, _write_captions)]
            for part in parts:
                part.result()
        write_json(folder / WORLD_MARKER, config.model_dump(mode="json"))

        # Last, so that a world with a manifest is whole.
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        entries = {
            str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files
        }
        write_json(folder / _MANIFEST, entries)


def _write_sets(config: WorldConfig, folder: Path) -> None:
    """Every data set in its official layout."""
    for key, (_, split, write) in SETS.items():
        write(folder, split, _scenes(config, key))
    write_ade847(folder, _scenes(config, "ade847_train"), _scenes(config, "ade847"))


def _scenes(config: WorldConfig, key: str) -> Iterator[Scene]:
    """The scenes of one set; those outside training also show things that the set does not name."""
    benchmark = SETS[key][0] if key in SETS else "ade847"
    vocabulary = VOCABULARIES[benchmark]

    strange: tuple[int, ...] = ()
    if key in ADE847_SETS:
        strange = STRANGE_IN[ADE847_SETS[key]]
    elif benchmark != "coco":
        strange = tuple(concept for concept in range(FIRST_STUFF) if concept not in vocabulary.things)

    # VOC's vocabulary has no stuff, its scenes have.
    stuff = vocabulary.stuff or VOCABULARIES["coco"].stuff
    count = config.images[key]
    scenes = make_scenes(config.seed, key, count, config.image_size, vocabulary.things, stuff, strange)
    yield from tqdm(scenes, f"make {key}", count, file=sys.stderr, leave=False, mininterval=1)


def _write_captions(config: WorldConfig, folder: Path) -> None:
    """``captions.csv`` with its images, and ``heldout.json`` with all names and those never captioned."""
    folder = folder / "captions"
    sizes = config.caption_image_size, config.image_size
    test = max(len(HELD_OUT), config.caption_images // 20)
    rows: list[dict[str, str]] = []

    captioned = make_training_images(config.seed, config.caption_images, *sizes)
    for each in tqdm(captioned, "make captions", config.caption_images, file=sys.stderr, leave=False, mininterval=1):
        rows.append(_write_captioned(folder, len(rows), "train", each))
    for each in make_test_images(config.seed, test, *sizes):
        rows.append(_write_captioned(folder, len(rows), "test", each))

    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, CAPTION_FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    names = [name(concept) for concept in range(CONCEPTS)]
    content = {"names": names, "things": names[:FIRST_STUFF], "stuff": names[FIRST_STUFF:]}
    content["heldout"] = [name(concept) for concept in HELD_OUT]
    save_text(folder / "heldout.json", json.dumps(content, indent=1) + "\n")


def _write_captioned(folder: Path, number: int, split: str, each: Captioned) -> dict[str, str]:
    path = f"images/{number:06d}.jpg"
    save_image(folder / path, each.image)
    return {"image": path, "caption": each.caption, "split": split, "kind": each.kind, "name": each.name}
