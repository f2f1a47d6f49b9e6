"""What a reader of an official download gives: items, vocabulary, and a way to decode one label map."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer, UInt8
from PIL import ExifTags, Image

from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError, refuse_reading
from opentrans.system.files import require_folder

COMPLETE = "complete the download, or set data.allow_subset: true"
ROOT_REMEDY = "set data.raw_root (or data.folders) to where the download lies"
IGNORE_8 = 255
IGNORE_16 = 65535
WORLD_MARKER = "world.json"
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


@dataclass(frozen=True)
class Item:
    """One image of the official download and the file that holds its labels."""

    image_id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Decoded:
    """Labels: class index or ignore value; segments: 1-based numbers, 0 where none, or None.

    `image` replaces the image where the preparation changes it (resized); else None. `pixels` counts the pixels
    of each class, ignored ones last, where the reader knows them already.
    """

    labels: Integer[np.ndarray, "h w"]
    segments: Integer[np.ndarray, "h w"] | None = None
    image: UInt8[np.ndarray, "h w 3"] | None = None
    pixels: Int[np.ndarray, " k1"] | None = None


@dataclass(frozen=True)
class Known:
    """What the file `where` of a download says of the data set's histograms: numbers to check the preparation by.

    `pixels`: pixels of each class. `images`: images in which each class occurs; `at_most` if it may be fewer.
    """

    where: Path
    pixels: tuple[int, ...] | None = None
    images: tuple[int, ...] | None = None
    at_most: bool = False


class Source(ABC):
    """An opened official download of one split."""

    vocabulary: Vocabulary
    items: tuple[Item, ...]
    table: Int[np.ndarray, " values"] = np.zeros(0, np.int64)
    known: Known | None = None

    @abstractmethod
    def decode(self, item: Item) -> Decoded:
        """Read the label map of `item`; a value that the data set does not define is a `UserError`."""

    def check_split(self, pixels: Int[np.ndarray, " k1"], images: int) -> None:  # noqa: B027 (most need none)
        """What only a whole split can tell of its encoding, from the pixels of each class, ignored ones last."""

    def fingerprint(self, item: Item) -> bytes:
        """What besides the two files of `item` decides what `decode` gives."""
        return self.table.tobytes()


def pair_files(images: Mapping[str, Path], labels: Mapping[str, Path], allow_subset: bool = False) -> tuple[Item, ...]:
    """Join images and labels by image id, in order of the ids.

    Raises:
        UserError: an image without label or a label without image (unless `allow_subset`), or no pair at all.
    """
    if allow_subset:
        both = sorted(images.keys() & labels.keys())
        if not both:
            raise UserError(next(iter(images.values())).parent, "no image here has a label", COMPLETE)
        return tuple(Item(key, images[key], labels[key]) for key in both)

    for have, other, what in ((images, labels, "image has no label"), (labels, images, "label has no image")):
        alone = sorted(have.keys() - other.keys())
        if alone:
            problem = f"this {what} ({len(alone)} such)"
            raise UserError(have[alone[0]], problem, "complete the download or remove the file")
    return tuple(Item(key, images[key], labels[key]) for key in sorted(images))


def list_files(folder: Path, pattern: str, suffix: str) -> dict[str, Path]:
    """Files of `folder` that match `pattern`, by name without `suffix`; none or no folder is a `UserError`."""
    if not os.access(require_folder(folder, ROOT_REMEDY), os.R_OK | os.X_OK):
        raise refuse_reading(folder)  # `glob` would find nothing
    found = folder.glob(pattern)
    # macOS leaves a companion `._NAME` beside each file on a foreign disk.
    files = {path.name.removesuffix(suffix): path for path in found if not path.name.startswith("._")}
    if not files:
        raise UserError(folder, f"holds no {pattern}", ROOT_REMEDY)
    return files


def listed_files(
    stems: Iterable[str], images: Path, labels: Path, suffix: str, allow_subset: bool = False
) -> tuple[Item, ...]:
    """Items of a split list: ``{stem}.jpg`` in `images`, ``{stem}{suffix}`` in `labels`; all must exist."""
    require_folder(images, ROOT_REMEDY)
    require_folder(labels, ROOT_REMEDY)
    items = tuple(Item(stem, images / f"{stem}.jpg", labels / f"{stem}{suffix}") for stem in stems)
    return keep_present(items, images, allow_subset)


def keep_present(items: Iterable[Item], where: Path, allow_subset: bool) -> tuple[Item, ...]:
    """The items whose files exist; without `allow_subset` a missing one is a `UserError`, as is none at all."""
    present = []
    for item in items:
        missing = [(path, what) for path, what in ((item.image, "image"), (item.label, "label")) if not path.is_file()]
        if not missing:
            present.append(item)
        elif not allow_subset:
            path, what = missing[0]
            raise UserError(path, f"the {what} of a listed image is missing", COMPLETE)

    if not present:
        raise UserError(where, "holds none of the listed images", ROOT_REMEDY)
    return tuple(present)


def read_lines(path: Path, remedy: str = ROOT_REMEDY) -> list[str]:
    """The non-empty lines of a text file (byte-order mark allowed), stripped; a missing file is a `UserError`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 text ({error})", "download this file again") from None
    return [line.strip() for line in lines if line.strip()]


def look_up(values: np.ndarray, table: Int[np.ndarray, " values"], path: Path) -> Int[np.ndarray, "h w"]:
    """``table[values]``; a value outside the table, or where it holds -1, is a `UserError`."""
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise UserError(path, "is not a map of whole numbers with one channel", "download this file again")

    inside = values < len(table)
    labels: np.ndarray = table[np.where(inside, values, 0)]
    wrong = ~inside | (labels < 0)
    if wrong.any():
        value = int(values[wrong][0])
        raise UserError(path, f"label value {value} is outside the vocabulary", "download this file again")
    return labels


def check_size(path: Path, size: tuple[int, ...], label_size: tuple[int, ...]) -> None:
    """Compare height and width of an image and its label; a difference is a `UserError`, which names EXIF."""
    if size == label_size:
        return
    problem = f"is {size[0]} x {size[1]} pixels, its label {label_size[0]} x {label_size[1]}"
    orientation = read_orientation(path)
    if orientation in _TURNED and size[::-1] == label_size:
        problem += f": the label is drawn on the image as its EXIF orientation ({orientation}) turns it, here unapplied"
        raise UserError(path, problem, "turn the label back, or save the image turned and without the orientation")
    raise UserError(path, problem, "download both again")


def read_orientation(path: Path) -> int:
    """The orientation in an image's EXIF data; 1 (as stored) where there is none."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data can raise anything, and then says nothing
        return 1


def split_names(text: str) -> tuple[str, ...]:
    """Synonyms separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shifted_table(classes: int, ignore: int) -> Int[np.ndarray, " values"]:
    """Stored 0 -> ignore, stored k -> k - 1."""
    return np.concatenate([[ignore], np.arange(classes)])


def check_count(where: Path, n_images: int, official: tuple[int, ...], allow_subset: bool) -> None:
    """Compare the number of images with the official one; nothing is compared where none is known."""
    if official and n_images not in official and not allow_subset:
        wanted = " or ".join(map(str, official))
        raise UserError(where, f"{n_images} images found, the data set has {wanted}", COMPLETE)
