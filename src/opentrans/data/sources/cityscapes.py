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
_FIRST_ABOVE = 6  # the first class whose label id is above 18, the highest training id


class Cityscapes(Source):
    """``leftImg8bit/{split}/{city}`` and ``gtFine/{split}/{city}``; an optional ``labels.json`` renames the classes.

    Training ids are made here from ``labelIds``, so the official ``createTrainIdLabelImgs`` need not have run.
    ``labels.json`` is a list of objects with name, id and trainId (255, -1: ignored), like the official table.
    """

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        self.official = not (root / "labels.json").exists()
        names, self.table = _read_labels(root / "labels.json")
        self.vocabulary = Vocabulary("cityscapes", tuple((name,) for name in names), IGNORE_8)
        images = list_files(root / "leftImg8bit" / split, "*/*_leftImg8bit.png", "_leftImg8bit.png")
        labels = list_files(root / "gtFine" / split, "*/*_gtFine_labelIds.png", "_gtFine_labelIds.png")
        self.items = pair_files(images, labels, config.allow_subset)

    def decode(self, item: Item) -> Decoded:
        """Training ids; a label of negative id (licence plate) is not drawn in the official files.

        Raises:
            UserError: it holds 255, as files of training ids do.
        """
        stored = read_map(item.label)
        if self.official and stored.dtype == np.uint8 and (stored == IGNORE_8).any():
            problem = "holds 255, which no labelIds file does: these are training ids under another name"
            raise UserError(item.label, problem, "unpack gtFine_trainvaltest.zip again, and take labelIds from there")
        return Decoded(look_up(stored, self.table, item.label))

    def check_split(self, pixels: Int[np.ndarray, " k1"], images: int) -> None:
        """Training ids without 255, which one image cannot tell: no label id above 18 anywhere in the split."""
        if self.official and not pixels[_FIRST_ABOVE:-1].any():
            problem = f"no label id above 18 in any of {images} images: these look like training ids"
            remedy = "unpack gtFine_trainvaltest.zip again, and take labelIds from there"
            raise UserError(self.items[0].label.parents[1], problem, remedy)


def _read_labels(path: Path) -> tuple[tuple[str, ...], Int[np.ndarray, " values"]]:
    """Class names by training id, and the table from label id (0..33) to training id."""
    table = np.full(IGNORE_8 + 1, -1)
    if not path.exists():
        table[:_LABEL_IDS] = IGNORE_8
        table[list(_TRAIN_IDS)] = range(len(_TRAIN_IDS))
        return _NAMES, table

    entries = read_json(path)
    try:
        names: dict[int, str] = {}
        for entry in entries:
            label, training = entry["id"], entry["trainId"]
            if type(label) is not int or type(training) is not int:
                raise TypeError("id or trainId as a whole number")
            if label >= 0 and table[label] >= 0:
                raise UserError(path, f"id {label} is listed twice", "list each label once")
            ignored = training in (-1, IGNORE_8)
            if label >= 0:
                table[label] = IGNORE_8 if ignored else training
            if not ignored and names.setdefault(training, str(entry["name"])) != str(entry["name"]):
                problem = f"training id {training} has two names, {names[training]} and {entry['name']}"
                raise UserError(path, problem, "give the labels of one training id one name")
        return tuple(names[index] for index in range(len(names))), table
    except (KeyError, TypeError, IndexError) as error:
        problem = f"field or training id {error} is missing"
        raise UserError(path, problem, "list name, id and trainId of each label") from None
