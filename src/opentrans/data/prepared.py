"""The one prepared form that everything downstream reads.

``{prepared}/{dataset}/{split}/`` holds ``index.csv`` (one row for each image), ``labels/`` (PNG, 8 or 16 bit: class
index or the ignore value), optionally ``segments/`` (PNG: number of the annotated segment, 0 = none),
``vocabulary.json`` and ``stats.json``. Paths in the index are relative to the folder.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from opentrans.errors import UserError, refuse_reading
from opentrans.runs.layout import INDEX_FILE, STATISTICS_FILE, VOCABULARY_FILE
from opentrans.system.files import read_csv, read_json, write_json

INDEX_FIELDS = ("image_id", "image", "label", "segments", "height", "width", "image_sha256", "label_sha256")
_GREY = 0  # PNG's colour type
PREPARE_AGAIN = "run the preparation of this data set again"


@dataclass(frozen=True)
class Vocabulary:
    """Class names of a data set: `names[c]` lists the synonyms of class `c`, the first one is shown.

    `ignore` is the label value that no metric and no loss counts.
    """

    dataset: str
    names: tuple[tuple[str, ...], ...]
    ignore: int

    def __len__(self) -> int:
        return len(self.names)

    @property
    def titles(self) -> list[str]:
        """The first name of each class."""
        return [synonyms[0] for synonyms in self.names]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        classes = [{"index": index, "synonyms": list(synonyms)} for index, synonyms in enumerate(self.names)]
        write_json(path, {"dataset": self.dataset, "ignore": self.ignore, "classes": classes})

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read from JSON; a missing field is a `UserError`."""
        content = read_json(path, PREPARE_AGAIN)
        try:
            names = tuple(tuple(entry["synonyms"]) for entry in content["classes"])
            dataset, ignore = str(content["dataset"]), content["ignore"]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(path, f"field {error} is missing", PREPARE_AGAIN) from None

        for number, synonyms in enumerate(names):
            if not synonyms or not all(isinstance(name, str) and name.strip() for name in synonyms):
                raise UserError(f"{path}: class {number}", "a name is empty or no text", PREPARE_AGAIN)
        # Not isinstance: a bool is an int, too.
        if not names or type(ignore) is not int:
            problem = f"{len(names)} classes, ignore value {ignore!r}"
            raise UserError(path, problem, f"at least one class and a whole number are needed; {PREPARE_AGAIN}")
        return cls(dataset, names, ignore)


@dataclass(frozen=True)
class Record:
    """One image of a prepared data set; `height` and `width` are those of the label map, in pixels."""

    image_id: str
    image: Path
    label: Path
    segments: Path | None
    height: int
    width: int


@dataclass(frozen=True)
class PreparedDataset:
    """An opened prepared data set."""

    folder: Path
    records: tuple[Record, ...]
    vocabulary: Vocabulary

    @classmethod
    def open(cls, folder: Path) -> "PreparedDataset":
        """Read index and vocabulary of `folder`; an index that is not what ``stats.json`` says is a `UserError`."""
        rows = read_csv(folder / INDEX_FILE, INDEX_FIELDS, PREPARE_AGAIN)
        _check_index(folder, rows)
        return cls(folder, tuple(_record(folder, row) for row in rows), Vocabulary.read(folder / VOCABULARY_FILE))

    def __len__(self) -> int:
        return len(self.records)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """The image, RGB."""
        return read_rgb(self.records[index].image)

    def label(self, index: int) -> Int32[np.ndarray, "h w"]:
        """The label map: class index or the vocabulary's ignore value."""
        record = self.records[index]
        stored = read_map(record.label)
        if stored.shape != (record.height, record.width) or stored.dtype.kind not in "ui":
            shape = " x ".join(map(str, stored.shape))
            problem = f"is {shape} {stored.dtype}, not a map of {record.height} x {record.width} whole numbers"
            raise UserError(record.label, problem, PREPARE_AGAIN)

        label = stored.astype(np.int32)
        outside = (label >= len(self.vocabulary)) & (label != self.vocabulary.ignore)
        if outside.any():
            value = int(label[outside][0])
            raise UserError(record.label, f"label value {value} is outside the vocabulary", PREPARE_AGAIN)
        return label

    def segments(self, index: int) -> Int32[np.ndarray, "h w"] | None:
        """The segment numbers, 0 where none; None where the data set has no segments."""
        path = self.records[index].segments
        return None if path is None else read_map(path).astype(np.int32)


def hash_labels(rows: Iterable[Mapping[str, object]]) -> str:
    """One digest of the label maps of all rows of an index, in their order."""
    return hashlib.sha256("\n".join(str(row["label_sha256"]) for row in rows).encode()).hexdigest()


def _check_index(folder: Path, rows: list[dict[str, str]]) -> None:
    """Compare the index with the number of images and the digest beside it; an own data set may have neither."""
    path = folder / STATISTICS_FILE
    stats = read_json(path, PREPARE_AGAIN) if path.exists() else {}
    if not isinstance(stats, dict):
        raise UserError(path, "holds no object", PREPARE_AGAIN)

    images = stats.get("images", len(rows))
    if images != len(rows):
        raise UserError(folder / INDEX_FILE, f"{len(rows)} images, stats.json says {images}", PREPARE_AGAIN)
    if stats.get("labels_sha256", hash_labels(rows)) != hash_labels(rows):
        raise UserError(folder / INDEX_FILE, "column label_sha256 is not what stats.json says", PREPARE_AGAIN)


def _record(folder: Path, row: dict[str, str]) -> Record:
    segments = folder / row["segments"] if row["segments"] else None
    return Record(
        image_id=row["image_id"],
        image=folder / row["image"],
        label=folder / row["label"],
        segments=segments,
        height=_read_side(folder, row, "height"),
        width=_read_side(folder, row, "width"),
    )


def _read_side(folder: Path, row: dict[str, str], name: str) -> int:
    if not (row[name].isascii() and row[name].isdigit()):
        where = f"{folder / 'index.csv'}: image {row['image_id']}, column {name}"
        raise UserError(where, f"{row[name]!r} is not a number of pixels", PREPARE_AGAIN)
    return int(row[name])


def read_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an image, RGB; missing or unreadable files are a `UserError`.

    Of several frames the first counts; an orientation in EXIF is not applied, because label maps know none.
    """
    opened = _decode(path)
    if opened.mode.startswith(("I", "F")):  # Pillow would cut the values off at 255
        raise UserError(path, f"has more than 8 bits a channel (mode {opened.mode})", "convert it to 8 bits")
    return np.asarray(opened.convert("RGB"))


def read_map(path: Path) -> np.ndarray:
    """The stored values of a label or id map, a PNG: (height, width) or (height, width, channels).

    Pillow spreads grey levels of 1, 2 and 4 bits over 0 to 255, and cuts 16-bit colours off: the first are brought
    back, the second refused.
    """
    opened = _decode(path)
    if opened.format != "PNG":
        remedy = "take the PNG of the download: other formats may change the values"
        raise UserError(path, f"is {opened.format}, not PNG", remedy)

    values = np.asarray(opened)
    bits, colour_type = _read_depth(path)
    if bits == 16 and colour_type != _GREY:
        raise UserError(path, "has 16 bits a channel", "take the PNG of the download, 8 bits a channel")
    if bits < 8 and colour_type == _GREY:
        # One bit comes as a truth value, two and four as multiples of 85 and 17.
        return values.astype(np.uint8) if bits == 1 else values // (255 // (2**bits - 1))
    return values


def _read_depth(path: Path) -> tuple[int, int]:
    """Bits a sample and colour type of a PNG that has been decoded before."""
    with path.open("rb") as stream:
        header = stream.read(26)
    return header[24], header[25]


def _decode(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened
    except FileNotFoundError:
        raise UserError(path, "no such image", "complete the data set") from None
    except PermissionError:
        raise refuse_reading(path) from None
    except Exception as error:  # a damaged image can raise anything
        raise UserError(path, f"unreadable image ({error})", "download or unpack this file again") from None
