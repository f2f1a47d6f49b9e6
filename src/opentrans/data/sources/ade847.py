"""The full ADE20K (release 2021_17_01): a pickled index, class numbers coded in red and green."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map, read_rgb
from opentrans.data.sources.base import (
    IGNORE_16,
    ROOT_REMEDY,
    Decoded,
    Item,
    Known,
    Source,
    check_size,
    keep_present,
    look_up,
    read_lines,
    split_names,
)
from opentrans.data.sources.safe_pickle import read_pickle
from opentrans.errors import UserError
from opentrans.system.files import require_folder


class Ade847(Source):
    """``ADE20K_2021_17_01/index_ade20k.pkl`` and the images and ``*_seg.png`` in the folders that it names.

    Kept classes are those that occur in both splits, or those whose 0-based numbers stand in the file
    `config.ade847_indices`, one a line; class order is the order of the index.
    """

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        self.path = root / "index_ade20k.pkl"
        self.short_side = config.ade847_short_side

        content = read_pickle(require_folder(root, ROOT_REMEDY) / "index_ade20k.pkl")
        try:
            names, files, folders = (_get_texts(content, key) for key in ("objectnames", "filename", "folder"))
            seen = self._get_presence(content, len(files))
            classes = _choose_classes(seen, files, config.ade847_indices)
        except (KeyError, TypeError) as error:
            raise UserError(self.path, f"field {error} is missing", "download this file again") from None
        self.vocabulary = Vocabulary("ade847", tuple(split_names(names[index]) for index in classes), IGNORE_16)
        self.table = np.full(len(names) + 1, IGNORE_16)
        self.table[np.array(classes) + 1] = range(len(classes))

        self.items = self._items(root, files, folders, split, config.allow_subset)
        here = [index for index, name in enumerate(files) if _split(name) == split]
        if len(self.items) == len(here):
            images = tuple(int(count) for count in seen[np.ix_(classes, here)].sum(1))
            self.known = Known(self.path, images=images, at_most=True)

    def _get_presence(self, content: dict[str, Any], files: int) -> Bool[np.ndarray, "k n"]:
        """Which object occurs in which image; the counts themselves are most of a gigabyte and are dropped."""
        presence = content.pop("objectPresence")
        if not isinstance(presence, np.ndarray) or presence.dtype.kind not in "biuf":
            raise TypeError("objectPresence as an array of numbers")
        if presence.shape != (len(content["objectnames"]), files):
            raise UserError(f"{self.path}: objectPresence", f"has shape {presence.shape}", "download this file again")
        seen: np.ndarray = presence > 0
        return seen

    def _items(
        self, root: Path, files: Sequence[str], folders: Sequence[str], split: str, allow_subset: bool
    ) -> tuple[Item, ...]:
        items = []
        for name, folder in zip(files, folders, strict=True):
            if _split(name) == split:
                # The index writes the release's own folder first; the user may have renamed it.
                beside = root.joinpath(*Path(folder).parts[1:])
                stem = Path(name).stem
                items.append(Item(stem, beside / name, beside / f"{stem}_seg.png"))
        return keep_present(sorted(items, key=lambda item: item.image_id), root, allow_subset)

    def fingerprint(self, item: Item) -> bytes:
        """The classes, and the size that images are reduced to."""
        return super().fingerprint(item) + str(self.short_side).encode()

    def decode(self, item: Item) -> Decoded:
        """Class = (R // 10) * 256 + G, 1-based into the names, 0 unlabelled; B is the instance."""
        coded = read_map(item.label)
        if coded.ndim != 3 or coded.shape[2] != 3:
            raise UserError(item.label, "is not an RGB image", "download this file again")
        numbers = coded[..., 0].astype(np.int64) // 10 * 256 + coded[..., 1]
        labels = look_up(numbers, self.table, item.label)

        short = min(labels.shape)
        if self.short_side is None or short <= self.short_side:
            return Decoded(labels)
        image = read_rgb(item.image)
        check_size(item.image, image.shape[:2], labels.shape)
        return _resize(image, labels, self.short_side / short)


def _get_texts(content: dict[str, Any], key: str) -> list[str]:
    """A field of names; anything but text is a `TypeError`: lists that share lists would be unfolded as text."""
    texts = list(content[key])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key} as a list of names")
    return [str(text) for text in texts]


def _choose_classes(seen: Bool[np.ndarray, "k n"], files: Sequence[str], indices: str | None) -> list[int]:
    """The listed classes, or those that occur in both splits."""
    if indices is not None:
        return _read_indices(Path(indices), len(seen))

    training = np.array([_split(name) == "train" for name in files])
    validation = np.array([_split(name) == "val" for name in files])
    return [int(index) for index in np.flatnonzero(seen[:, training].any(1) & seen[:, validation].any(1))]


def _split(name: str) -> str:
    """The second field of a file name: ``ADE_val_00000001.jpg`` -> ``val``."""
    return f"{name}__".split("_")[1]


def _read_indices(path: Path, classes: int) -> list[int]:
    lines = read_lines(path)
    wrong = [line for line in lines if not line.isdecimal() or int(line) >= classes]
    if wrong:
        problem = f"`{wrong[0]}` is no index below {classes}"
        raise UserError(path, problem, "write one 0-based index of objectnames a line")
    return [int(line) for line in lines]


def _resize(image: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "h w"], factor: float) -> Decoded:
    """Image bilinear, labels nearest, as is customary for this data set."""
    size = round(labels.shape[1] * factor), round(labels.shape[0] * factor)
    small = Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return Decoded(np.asarray(small), image=np.asarray(resized))
