"""PASCAL in Detail: one JSON file with every segment of PASCAL-Context as run lengths (``trainval_merged.json``)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from opentrans.errors import UserError
from opentrans.system.files import read_json

_REMEDY = "download trainval_merged.json again"
Segment = tuple[int, tuple[list[int], object]]


@dataclass(frozen=True)
class Detail:
    """The images of one phase and their segments, in the file's order (a later one covers an earlier one).

    Attributes:
        path: the file.
        stems: file names without suffix, by image id.
        segments: (category id, (size, counts)) of each image; size is height, width.
        names: category names by id.
    """

    path: Path
    stems: dict[int, str]
    segments: dict[str, list[Segment]]
    names: dict[int, str]

    def decode(self, stem: str, table: Integer[np.ndarray, " values"], ignore: int) -> Integer[np.ndarray, "h w"]:
        """The label map of an image: ``table[category id]``, `ignore` where no segment lies."""
        labels: np.ndarray | None = None
        for category, (size, counts) in self.segments[stem]:
            if not 0 <= category < len(table):
                raise UserError(f"{self.path}: {stem}", f"category {category} is outside the vocabulary", _REMEDY)

            inside = decode_run_lengths(size, counts, f"{self.path}: {stem}")
            labels = np.full(inside.shape, ignore) if labels is None else labels
            if inside.shape != labels.shape:
                raise UserError(f"{self.path}: {stem}", "its segments differ in size", _REMEDY)
            labels[inside] = table[category]

        if labels is None:
            raise UserError(f"{self.path}: {stem}", "has no segment", _REMEDY)
        return labels


def decode_run_lengths(size: Sequence[int], counts: object, where: object) -> Bool[np.ndarray, "h w"]:
    """A mask from COCO's run lengths, compressed (text) or not (numbers): column by column, background first.

    Raises:
        UserError: the runs do not fill the image, or are no runs.
    """
    try:
        runs = counts if isinstance(counts, list) else _read_counts(counts)
        if sum(runs) != size[0] * size[1] or min(runs) < 0:
            raise ValueError(f"runs of {sum(runs)} pixels in an image of {size[0]} x {size[1]}")
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape(size[1], size[0]).T
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(where, f"damaged run lengths ({error})", _REMEDY) from None


def _read_counts(text: object) -> list[int]:
    """The run lengths behind the text: five bits a character from 48 on, each the change to the last but one."""
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} instead of text or a list")
    counts: list[int] = []
    position = 0
    while position < len(text):
        # The lowest bits come first; bit 5 says that another character follows.
        value, shift, more = 0, 0, True
        while more:
            digit = ord(text[position]) - 48
            value |= (digit & 31) << shift
            more = bool(digit & 32)
            shift += 5
            position += 1

        # Bit 4 of the last character is the sign.
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)

    return counts


def read_detail(path: Path, phase: str) -> Detail:
    """Read the images of `phase` (``train``, ``val``) and their segments.

    Raises:
        UserError: a field is missing, or an image has no segment at all.
    """
    try:
        content = read_json(path, _REMEDY, _shorten)
        stems = {int(i["image_id"]): Path(i["file_name"]).stem for i in content["images"] if i["phase"] == phase}
        segments: dict[str, list[Segment]] = defaultdict(list)
        for image, category, segment in content["annos_segmentation"]:
            if image in stems:
                (height, width), counts = segment
                segments[stems[image]].append((int(category), ([int(height), int(width)], counts)))
        names = {int(c["category_id"]): str(c["name"]) for c in content["categories"] if int(c["category_id"])}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(path, f"field {error} is missing or wrong", _REMEDY) from None

    empty = sorted(set(stems.values()) - segments.keys())
    if empty:
        raise UserError(path, f"image {empty[0]} has no segment ({len(empty)} such)", _REMEDY)
    return Detail(path, stems, dict(segments), names)


def _shorten(entry: dict[str, Any]) -> Any:
    """Keep only images, categories and segments: the file also holds parts, boundaries and joints."""
    if "counts" in entry:
        return entry["size"], entry["counts"]
    if "segmentation" in entry:
        if "image_id" not in entry:
            return 0
        return int(entry["image_id"]), int(entry["category_id"]), entry["segmentation"]
    needed = "images" in entry or "file_name" in entry or "category_id" in entry
    return entry if needed else 0
