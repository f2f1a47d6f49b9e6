"""COCO panoptic: segment ids coded in three bytes, classes in one JSON file."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map
from opentrans.data.source import IGNORE_8, ROOT_REMEDY, Decoded, Item, Source, list_files, pair_files
from opentrans.errors import UserError
from opentrans.files import read_json

OFFICIAL_CLASSES = 133


def prompt_name(name: str) -> str:
    """COCO's category name as a prompt: ``floor-other-merged`` -> ``floor``, ``wall-brick`` -> ``wall brick``."""
    return name.replace("-merged", "").replace("-other", "").replace("-", " ")


class CocoPanoptic(Source):
    """``coco/{split}2017``, ``coco/panoptic_{split}2017`` and ``coco/annotations/panoptic_{split}2017.json``."""

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        self.path = root / f"annotations/panoptic_{split}2017.json"
        content = read_json(self.path, ROOT_REMEDY)
        try:
            categories = sorted(content["categories"], key=lambda category: category["id"])
            self.class_of = {category["id"]: index for index, category in enumerate(categories)}
            names = tuple((prompt_name(category["name"]),) for category in categories)
            files = {image["id"]: image["file_name"] for image in content["images"]}
            self.segments = {Path(entry["file_name"]).stem: self._segments(entry) for entry in content["annotations"]}
            annotated = {Path(files[entry["image_id"]]).stem for entry in content["annotations"]}
        except (KeyError, TypeError) as error:
            raise UserError(self.path, f"field or id {error} is missing", "download this file again") from None
        self.vocabulary = Vocabulary("coco", names, IGNORE_8)
        images = list_files(root / f"{split}2017", "*.jpg", ".jpg")
        labels = list_files(root / f"panoptic_{split}2017", "*.png", ".png")
        self.items = pair_files(images, labels)
        self._check_listed(annotated, set(images))

    def _segments(self, entry: dict[str, Any]) -> Int[np.ndarray, "n 3"]:
        """Rows of segment id, class index and number (1.. in the file's order), sorted by id."""
        rows = [
            (segment["id"], self.class_of[segment["category_id"]], number)
            for number, segment in enumerate(entry["segments_info"], start=1)
        ]
        return np.array(sorted(rows), np.int64).reshape(-1, 3)

    def _check_listed(self, annotated: set[str], images: set[str]) -> None:
        wrong = sorted((annotated | self.segments.keys()) ^ images | annotated ^ self.segments.keys())
        if wrong:
            problem = f"image {wrong[0]} is in only one of the JSON file and the folders ({len(wrong)} such)"
            raise UserError(self.path, problem, "complete the download")

    def decode(self, item: Item) -> Decoded:
        """Classes and segment numbers of every pixel by one sorted lookup; id 0 is unlabelled."""
        return self.decode_ids(read_map(item.label), self.segments[item.image_id], item.label)

    @staticmethod
    def decode_ids(coded: np.ndarray, table: Int[np.ndarray, "n 3"], path: Path) -> Decoded:
        """Decode (height, width, 3) bytes with a table of rows (segment id, class, number) sorted by id."""
        if coded.ndim != 3 or coded.shape[2] != 3:
            raise UserError(path, "is not an RGB picture", "download this file again")
        ids = coded.astype(np.int64) @ np.array([1, 256, 65536])
        table = np.concatenate([[[0, IGNORE_8, 0]], table])
        row = np.searchsorted(table[:, 0], ids).clip(max=len(table) - 1)
        unknown = table[row, 0] != ids
        if unknown.any():
            problem = f"segment id {int(ids[unknown][0])} is not in the JSON file"
            raise UserError(path, problem, "download annotations and PNG files of the same release")
        return Decoded(table[row, 1], table[row, 2])
