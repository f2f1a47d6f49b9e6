"""PASCAL VOC 2012 (20 classes) and PASCAL-Context (459 classes, or 59 of them)."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map
from opentrans.data.sources.base import (
    IGNORE_8,
    IGNORE_16,
    ROOT_REMEDY,
    Decoded,
    Item,
    Known,
    Source,
    keep_present,
    listed_files,
    look_up,
    read_lines,
    shifted_table,
    split_names,
)
from opentrans.data.sources.detail import Detail, read_detail
from opentrans.errors import UserError, refuse_reading
from opentrans.system.files import require_folder

VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
# Validation images in which each class occurs, of 1,449: the segmentation statistics of the VOC 2012 site.
VOC_VAL_IMAGES = (90, 79, 103, 72, 96, 74, 127, 119, 123, 71, 75, 128, 79, 76, 445, 85, 57, 90, 84, 74)
VOC_VAL_TOTAL = 1449
CONTEXT_59_IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368),
    *(397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
_TOLERATED_FALLS = 2  # of the alphabet, where an edition renames a class


class Voc2012(Source):
    """``VOCdevkit/VOC2012``: palette PNGs; an optional ``labels.txt`` (a name a line) renames the 20 classes."""

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        path = root / "VOC2012"
        names = read_lines(path / "labels.txt") if (path / "labels.txt").exists() else VOC_NAMES
        self.vocabulary = Vocabulary("pas20", tuple(split_names(name) for name in names), IGNORE_8)

        self.table = np.full(IGNORE_8 + 1, -1)
        self.table[: len(names) + 1] = shifted_table(len(names), IGNORE_8)
        self.table[IGNORE_8] = IGNORE_8

        stems = read_lines(path / f"ImageSets/Segmentation/{split}.txt")
        images, labels = path / "JPEGImages", path / "SegmentationClass"
        self.items = listed_files(stems, images, labels, ".png", config.allow_subset)
        if (split, len(self.items), names) == ("val", VOC_VAL_TOTAL, VOC_NAMES):
            self.known = Known(labels, images=VOC_VAL_IMAGES)

    def decode(self, item: Item) -> Decoded:
        """Palette index 0 (background) and 255 (outline) are ignored, k is class k - 1."""
        return Decoded(look_up(read_map(item.label), self.table, item.label))


class PascalContext459(Source):
    """``VOCdevkit/VOC2010``: ``JPEGImages`` and ``trainval/*.mat`` (LabelMap), or ``trainval_merged.json`` (Detail).

    `config.pascal_context` decides which; `auto` takes LabelMap for 459 classes and Detail for 59, where they exist.
    """

    dataset, ignore, preferred = "pc459", IGNORE_16, "labelmap"

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        path = root / "VOC2010"
        self.detail: Detail | None = None
        if _get_annotation(path, config.pascal_context, self.preferred) == "detail":
            self.detail = read_detail(path / "trainval_merged.json", split)

        # The JSON file of Detail names the classes itself, but a list beside it counts.
        listed = path / "labels.txt"
        names = self.detail.names if self.detail and not listed.exists() else _read_names(listed)
        ids = self.category_ids(path, names)

        self.vocabulary = Vocabulary(self.dataset, tuple(split_names(names[i]) for i in ids), self.ignore)
        self.table = np.full(max(names) + 1, self.ignore)
        self.table[list(ids)] = range(len(ids))
        self.items = self._items(path, split, config.allow_subset)

    def _items(self, path: Path, split: str, allow_subset: bool) -> tuple[Item, ...]:
        images = require_folder(path / "JPEGImages", ROOT_REMEDY)
        if self.detail is None:
            return listed_files(_read_split(path, split), images, path / "trainval", ".mat", allow_subset)

        stems = sorted(self.detail.segments)
        items = (Item(stem, images / f"{stem}.jpg", self.detail.path) for stem in stems)
        return keep_present(items, images, allow_subset)

    def category_ids(self, path: Path, names: dict[int, str]) -> tuple[int, ...]:
        """Stored values that are classes, in class order."""
        return tuple(sorted(names))

    def fingerprint(self, item: Item) -> bytes:
        """The classes, and the image's segments in the JSON file."""
        segments = repr(self.detail.segments[item.image_id]) if self.detail else ""
        return super().fingerprint(item) + segments.encode()

    def decode(self, item: Item) -> Decoded:
        """`LabelMap` 1..459 is class value - 1, 0 is unlabelled; Detail has the same numbers as category ids."""
        if self.detail is not None:
            return Decoded(self.detail.decode(item.image_id, self.table, self.ignore))
        return Decoded(look_up(_read_label_map(item.label), self.table, item.label))


class PascalContext59(PascalContext459):
    """The same labels reduced to the 59 frequent classes; an optional ``59_ids.txt`` names other ids."""

    dataset, ignore, preferred = "pc59", IGNORE_8, "detail"

    def category_ids(self, path: Path, names: dict[int, str]) -> tuple[int, ...]:
        """The ids in ascending order; 0 (background) is no class."""
        listed = path / "59_ids.txt"
        lines = read_lines(listed) if listed.exists() else [str(i) for i in CONTEXT_59_IDS]
        wrong = [line for line in lines if not line.isdecimal() or int(line) not in {0, *names}]
        if wrong:
            raise UserError(listed, f"`{wrong[0]}` is no id of labels.txt", "write one category id a line")
        ids = tuple(sorted({int(line) for line in lines} - {0}))

        # The official names of the official ids are alphabetical; another order means labels of another file.
        falls = [name for name, following in pairwise(names[i] for i in ids) if name > following]
        if not listed.exists() and len(falls) > _TOLERATED_FALLS:
            problem = f"the names of the 59 classes are not in the official order (after {falls[0]})"
            raise UserError(path / "labels.txt", problem, "take labels.txt of the 459 classes, as downloaded")

        return ids


def _get_annotation(path: Path, wanted: str, preferred: str) -> str:
    """Which of the two forms of the annotation to read."""
    if wanted != "auto":
        return wanted
    there = {"labelmap": (path / "trainval").is_dir(), "detail": (path / "trainval_merged.json").is_file()}
    other = "labelmap" if preferred == "detail" else "detail"
    if there[preferred]:
        return preferred
    # Where neither is there, the message names the older form.
    return other if there[other] else "labelmap"


def _read_split(path: Path, split: str) -> list[str]:
    """Image ids of a split; lists that give paths are read by their stem. Mirrors name the official list differently.

    Raises:
        UserError: no list is there.
    """
    names = (f"pascalcontext_{split}.txt", f"{split}.txt", f"ImageSets/SegmentationContext/{split}.txt")
    listed = next((path / name for name in names if (path / name).is_file()), path / names[0])
    return [Path(line.split()[0]).stem for line in read_lines(listed)]


def _read_names(path: Path) -> dict[int, str]:
    """Names by stored value, from lines ``value: name``; values must run from 1 without gaps."""
    names: dict[int, str] = {}
    for line in read_lines(path):
        value, colon, name = line.partition(":")
        if not colon or not value.strip().isdecimal():
            raise UserError(path, f"`{line}` is not `index: name`", "download this file again")
        names[int(value)] = name.strip()

    names.pop(0, None)
    if sorted(names) != list(range(1, len(names) + 1)):
        raise UserError(path, "the indices do not run from 1 without gaps", "download this file again")
    return names


def _read_label_map(path: Path) -> np.ndarray:
    try:
        return np.asarray(loadmat(path)["LabelMap"])
    except KeyError:
        raise UserError(path, "variable LabelMap is missing", "download this file again") from None
    except PermissionError:
        raise refuse_reading(path) from None
    except Exception as error:  # scipy raises many kinds for damaged files
        raise UserError(path, f"unreadable .mat file ({error})", "download this file again") from None
