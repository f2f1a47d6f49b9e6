"""COCO panoptic: segment ids coded in three bytes, classes in one JSON file."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from opentrans.config import DataConfig
from opentrans.data.maps import read_packed_ids
from opentrans.data.prepared import Vocabulary
from opentrans.data.sources.base import IGNORE_8, ROOT_REMEDY, Decoded, Item, Known, Source, list_files, pair_files
from opentrans.errors import UserError
from opentrans.system.files import read_json

_THREE_BYTES = 0xFFFFFF


def prompt_name(name: str) -> str:
    """COCO's category name as a prompt: ``floor-other-merged`` -> ``floor``, ``wall-brick`` -> ``wall brick``."""
    return name.replace("-merged", "").replace("-other", "").replace("-", " ")


class CocoPanoptic(Source):
    """``coco/{split}2017``, ``coco/panoptic_{split}2017`` and ``coco/annotations/panoptic_{split}2017.json``."""

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        self.with_segments = config.regions == "segment"
        self.path = root / f"annotations/panoptic_{split}2017.json"
        try:
            content = read_json(self.path, ROOT_REMEDY, _shorten)
            self._check_task(content)
            for kind, key in (("categories", "id"), ("images", "id"), ("annotations", "image_id")):
                self._check_once(kind, key, [entry[key] for entry in content[kind]])
            categories = sorted(content["categories"], key=lambda category: category["id"])
            class_of = {category["id"]: index for index, category in enumerate(categories)}
            names = tuple((prompt_name(category["name"]),) for category in categories)
            files = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
            annotations = content["annotations"]
            self.segments = {Path(e["file_name"]).stem: _table(e["segments_info"], class_of) for e in annotations}
            annotated = {files[entry["image_id"]] for entry in annotations}
            areas = _sum_areas(annotations, class_of)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UserError(self.path, f"field or id {error} is missing or wrong", "download this file again") from None
        self.vocabulary = Vocabulary("coco", names, IGNORE_8)

        images = list_files(root / f"{split}2017", "*.jpg", ".jpg")
        labels = list_files(root / f"panoptic_{split}2017", "*.png", ".png")
        if config.allow_subset:
            listed = annotated & self.segments.keys()
            images = {key: path for key, path in images.items() if key in listed}
        self.items = pair_files(images, labels, config.allow_subset)
        if not config.allow_subset:
            self._check_listed(annotated, set(images))

        # Of a subset the areas in the JSON file say nothing.
        if len(self.items) == len(annotations):
            self.known = Known(self.path, pixels=areas)

    def _check_task(self, content: Any) -> None:
        """Recognise the JSON of another task by its annotations."""
        task = "a bare list, as results of a detector are" if isinstance(content, list) else None
        annotations = content.get("annotations") if isinstance(content, dict) else None
        if isinstance(annotations, list) and annotations:
            first = annotations[0]
            if isinstance(first, tuple):  # `_shorten` left it of an object with a category
                task = "instances, keypoints or stuff"
            elif isinstance(first, dict) and "caption" in first:
                task = "captions"
        if task:
            remedy = "put panoptic_annotations_trainval2017.zip's file of this name there"
            raise UserError(self.path, f"holds {task}, not panoptic annotations", remedy)

    def _check_once(self, kind: str, key: str, values: list[Any]) -> None:
        twice = [value for value, times in Counter(values).items() if times > 1]
        if twice:
            problem = f"{kind}: {key} {twice[0]} is listed twice ({len(twice)} such)"
            raise UserError(self.path, problem, "take the official file: merged files need new ids")

    def _check_listed(self, annotated: set[str], images: set[str]) -> None:
        wrong = sorted((annotated | self.segments.keys()) ^ images | annotated ^ self.segments.keys())
        if wrong:
            problem = f"image {wrong[0]} is in only one of the JSON file and the folders ({len(wrong)} such)"
            raise UserError(self.path, problem, "complete the download")

    def fingerprint(self, item: Item) -> bytes:
        """The rows of the image in the JSON file, and whether segments are written."""
        return bytes([self.with_segments]) + self.segments[item.image_id].tobytes()

    def decode(self, item: Item) -> Decoded:
        """Classes and segment numbers of every pixel; id 0 is unlabelled, a crowd has a class but no number."""
        ids = read_packed_ids(item.label)
        return decode_ids(ids, self.segments[item.image_id], len(self.vocabulary), item.label, self.with_segments)


def decode_ids(
    ids: UInt[np.ndarray, "h w"], table: UInt[np.ndarray, "n 3"], classes: int, path: Path, with_segments: bool = True
) -> Decoded:
    """Classes, segment numbers and pixel counts of a map of segment ids.

    Each run of equal ids is looked up once, then repeated: maps have far fewer runs than pixels.

    Args:
        ids: segment ids in the lower three bytes.
        table: rows (segment id, class or `IGNORE_8`, number), sorted by id.
        classes: number of classes; ignored pixels are counted after them.
        path: the file, for the message.
        with_segments: give the segments' numbers too.
    """
    twice = table[1:, 0][table[1:, 0] == table[:-1, 0]]
    if len(twice):
        raise UserError(path, f"segment id {int(twice[0])} is listed twice in the JSON file", "download both again")

    flat = ids.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    values, lengths = flat[starts] & _THREE_BYTES, np.diff(starts, append=flat.size)

    row = np.searchsorted(table[:, 0], values).clip(max=len(table) - 1)
    unknown = table[row, 0] != values
    if unknown.any():
        problem = f"segment id {int(values[unknown][0])} is not in the JSON file"
        raise UserError(path, problem, "download annotations and PNG files of the same release")

    classes_of_runs, numbers = table[row, 1], table[row, 2]
    counted = np.where(classes_of_runs == IGNORE_8, classes, classes_of_runs)
    pixels = np.bincount(counted, weights=lengths, minlength=classes + 1).astype(np.int64)
    labels = np.repeat(classes_of_runs.astype(np.uint8), lengths).reshape(ids.shape)
    if not with_segments:
        return Decoded(labels, pixels=pixels)
    narrow = np.uint8 if len(table) <= 256 else np.uint16
    return Decoded(labels, np.repeat(numbers.astype(narrow), lengths).reshape(ids.shape), pixels=pixels)


def _shorten(entry: dict[str, Any]) -> Any:
    """Keep what is used of a JSON object: the training set's file would take gigabytes otherwise."""
    if "category_id" in entry:
        return entry["id"], entry["category_id"], entry.get("area", 0), bool(entry.get("iscrowd", 0))
    if "height" in entry and "file_name" in entry:
        return {"id": entry["id"], "file_name": entry["file_name"]}
    return entry


def _table(segments: list[tuple[int, int, int, bool]], class_of: Mapping[int, int]) -> UInt[np.ndarray, "n 3"]:
    """Rows of segment id, class index and number (1.. in the file's order), sorted by id; id 0 is unlabelled.

    A crowd (``iscrowd``) has number 0: it is labelled, but no mask target and no region of distillation, as in
    Mask2Former, Han et al.'s code and OpenTrans.
    """
    rows = [
        (identifier, class_of[category], 0 if crowd else number)
        for number, (identifier, category, _, crowd) in enumerate(segments, 1)
    ]
    return np.array(sorted([(0, IGNORE_8, 0), *rows]), np.uint32)


def _sum_areas(annotations: list[dict[str, Any]], class_of: Mapping[int, int]) -> tuple[int, ...]:
    """Pixels of each class, as the JSON file itself counts them."""
    sums = [0] * len(class_of)
    for entry in annotations:
        for _, category, area, _ in entry["segments_info"]:
            sums[class_of[category]] += area
    return tuple(sums)
