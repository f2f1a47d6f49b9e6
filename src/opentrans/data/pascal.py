"""PASCAL VOC 2012 (20 classes) and PASCAL-Context (459 classes, or 59 of them)."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map
from opentrans.data.source import (
    IGNORE_8,
    IGNORE_16,
    Decoded,
    Item,
    Source,
    listed_files,
    look_up,
    read_lines,
    shifted_table,
    split_names,
)
from opentrans.errors import UserError

VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CONTEXT_59_IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368),
    *(397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)


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
        self.items = listed_files(stems, path / "JPEGImages", path / "SegmentationClass", ".png")

    def decode(self, item: Item) -> Decoded:
        """Palette index 0 (background) and 255 (outline) are ignored, k is class k - 1."""
        return Decoded(look_up(read_map(item.label), self.table, item.label))


class PascalContext459(Source):
    """``VOCdevkit/VOC2010``: ``JPEGImages``, ``trainval/*.mat``, ``labels.txt``, ``pascalcontext_{split}.txt``."""

    dataset, ignore = "pc459", IGNORE_16

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        path = root / "VOC2010"
        names = _read_names(path / "labels.txt")
        ids = self.category_ids(path, names)
        self.vocabulary = Vocabulary(self.dataset, tuple(split_names(names[i]) for i in ids), self.ignore)
        self.table = np.full(len(names) + 1, self.ignore)
        self.table[list(ids)] = range(len(ids))
        # The list of the mirror names the images by id; lists that give paths are read by their stem.
        stems = [Path(line.split()[0]).stem for line in read_lines(path / f"pascalcontext_{split}.txt")]
        self.items = listed_files(stems, path / "JPEGImages", path / "trainval", ".mat")

    def category_ids(self, path: Path, names: dict[int, str]) -> tuple[int, ...]:
        """Stored values that are classes, in class order."""
        return tuple(sorted(names))

    def decode(self, item: Item) -> Decoded:
        """`LabelMap` 1..459 is class value - 1, 0 is unlabelled."""
        return Decoded(look_up(_read_label_map(item.label), self.table, item.label))


class PascalContext59(PascalContext459):
    """The same label maps reduced to the 59 frequent classes; an optional ``59_ids.txt`` names other ids."""

    dataset, ignore = "pc59", IGNORE_8

    def category_ids(self, path: Path, names: dict[int, str]) -> tuple[int, ...]:
        """The ids in ascending order; 0 (background) is no class."""
        listed = path / "59_ids.txt"
        lines = read_lines(listed) if listed.exists() else [str(i) for i in CONTEXT_59_IDS]
        wrong = [line for line in lines if not line.isdecimal() or int(line) not in {0, *names}]
        if wrong:
            raise UserError(listed, f"`{wrong[0]}` is no id of labels.txt", "write one category id a line")
        return tuple(sorted({int(line) for line in lines} - {0}))


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
    except Exception as error:  # scipy raises many kinds for damaged files
        raise UserError(path, f"unreadable .mat file ({error})", "download this file again") from None
