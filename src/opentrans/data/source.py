"""What a reader of an official download gives: items, vocabulary, and a way to decode one label map."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.files import require_folder

COMPLETE = "complete the download, or set data.allow_subset: true"
ROOT_REMEDY = "set data.raw_root (or data.folders) to where the download lies"
IGNORE_8 = 255
IGNORE_16 = 65535
WORLD_MARKER = "world.json"


@dataclass(frozen=True)
class Item:
    """One picture of the official download and the file that holds its labels."""

    image_id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Decoded:
    """Labels (height, width): class index or ignore value; segments: 1-based numbers, 0 none, or None.

    `image` replaces the picture where the preparation changes it (resized); else None.
    """

    labels: np.ndarray
    segments: np.ndarray | None = None
    image: np.ndarray | None = None


class Source(ABC):
    """An opened official download of one split."""

    vocabulary: Vocabulary
    items: tuple[Item, ...]

    @abstractmethod
    def decode(self, item: Item) -> Decoded:
        """Read the label map of `item`; a value that the data set does not define is a `UserError`."""


def pair_files(images: Mapping[str, Path], labels: Mapping[str, Path]) -> tuple[Item, ...]:
    """Join pictures and labels by image id, in order of the ids.

    Raises:
        UserError: a picture without label or a label without picture, or none at all.
    """
    for have, other, what in ((images, labels, "image has no label"), (labels, images, "label has no image")):
        alone = sorted(have.keys() - other.keys())
        if alone:
            raise UserError(
                have[alone[0]], f"this {what} ({len(alone)} such)", "complete the download or remove the file"
            )
    return tuple(Item(key, images[key], labels[key]) for key in sorted(images))


def list_files(folder: Path, pattern: str, suffix: str) -> dict[str, Path]:
    """Files of `folder` that match `pattern`, by name without `suffix`; none or no folder is a `UserError`."""
    found = {path.name.removesuffix(suffix): path for path in require_folder(folder, ROOT_REMEDY).glob(pattern)}
    if not found:
        raise UserError(folder, f"holds no {pattern}", ROOT_REMEDY)
    return found


def listed_files(stems: Iterable[str], images: Path, labels: Path, suffix: str) -> tuple[Item, ...]:
    """Items of a split list: ``{stem}.jpg`` in `images`, ``{stem}{suffix}`` in `labels`; all must exist."""
    require_folder(images, ROOT_REMEDY), require_folder(labels, ROOT_REMEDY)
    items = tuple(Item(stem, images / f"{stem}.jpg", labels / f"{stem}{suffix}") for stem in stems)
    for item in items:
        for path, what in ((item.image, "image"), (item.label, "label")):
            if not path.is_file():
                raise UserError(path, f"the {what} of a listed picture is missing", "complete the download")
    return items


def read_lines(path: Path) -> list[str]:
    """The non-empty lines of a text file, stripped; a missing file is a `UserError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(path, "no such file", ROOT_REMEDY) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 text ({error})", "download this file again") from None
    return [line.strip() for line in lines if line.strip()]


def look_up(values: np.ndarray, table: np.ndarray, path: Path) -> np.ndarray:
    """``table[values]``; a value outside the table, or where it holds -1, is a `UserError`."""
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise UserError(path, "is not a map of whole numbers with one channel", "download this file again")
    inside = values < len(table)
    found = table[np.where(inside, values, 0)]
    wrong = ~inside | (found < 0)
    if wrong.any():
        value = int(values[wrong][0])
        raise UserError(path, f"label value {value} is outside the vocabulary", "download this file again")
    return found


def split_names(text: str) -> tuple[str, ...]:
    """Synonyms separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shifted_table(classes: int, ignore: int) -> np.ndarray:
    """Stored 0 -> ignore, stored k -> k - 1."""
    return np.concatenate([[ignore], np.arange(classes)])


def check_count(where: Path, found: int, official: tuple[int, ...], allow_subset: bool) -> None:
    """Compare the number of images with the official one; nothing is compared where none is known."""
    if official and found not in official and not allow_subset:
        wanted = " or ".join(map(str, official))
        raise UserError(where, f"{found} images found, the data set has {wanted}", COMPLETE)


Reader = Callable[..., Source]
