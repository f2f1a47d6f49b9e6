"""Cityscapes: fine annotation, label ids reduced to training ids."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map
from opentrans.data.sources.base import IGNORE_8, Decoded, Item, Source, list_files, look_up, pair_files
from opentrans.errors import UserError
from opentrans.system.files import read_json

_TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
_LABEL_IDS = 34


class Cityscapes(Source):
    """``leftImg8bit/{split}/{city}`` and ``gtFine/{split}/{city}``; an optional ``labels.json`` renames the classes.

    Training ids are made here from ``labelIds``, so the official ``createTrainIdLabelImgs`` need not have run.
    ``labels.json`` is a list of objects with name, id and trainId (255: ignored), like the official table.
    """

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        names, self.table = _read_labels(root / "labels.json")
        self.vocabulary = Vocabulary("cityscapes", tuple((name,) for name in names), IGNORE_8)
        images = list_files(root / "leftImg8bit" / split, "*/*_leftImg8bit.png", "_leftImg8bit.png")
        labels = list_files(root / "gtFine" / split, "*/*_gtFine_labelIds.png", "_gtFine_labelIds.png")
        self.items = pair_files(images, labels, config.allow_subset)

    def decode(self, item: Item) -> Decoded:
        """Training ids; -1 (licence plate), stored as 255 in eight bits, is ignored."""
        return Decoded(look_up(read_map(item.label), self.table, item.label))


def _read_labels(path: Path) -> tuple[tuple[str, ...], Int[np.ndarray, " values"]]:
    """Class names by training id, and the table from label id (0..33, and 255) to training id."""
    table = np.full(IGNORE_8 + 1, -1)
    table[IGNORE_8] = IGNORE_8
    if not path.exists():
        table[:_LABEL_IDS] = IGNORE_8
        table[list(_TRAIN_IDS)] = range(len(_TRAIN_IDS))
        return _NAMES, table

    entries = read_json(path)
    try:
        for entry in entries:
            table[entry["id"]] = entry["trainId"]
        names = {entry["trainId"]: str(entry["name"]) for entry in entries if entry["trainId"] != IGNORE_8}
        return tuple(names[index] for index in range(len(names))), table
    except (KeyError, TypeError, IndexError) as error:
        problem = f"field or training id {error} is missing"
        raise UserError(path, problem, "list name, id and trainId of each label") from None
