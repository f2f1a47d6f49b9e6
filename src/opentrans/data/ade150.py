"""ADE20K scene parsing: 150 classes, stored as class + 1."""

from pathlib import Path

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map
from opentrans.data.source import (
    IGNORE_8,
    Decoded,
    Item,
    Source,
    list_files,
    look_up,
    pair_files,
    read_lines,
    shifted_table,
    split_names,
)
from opentrans.errors import UserError

FOLDERS = {"train": "training", "val": "validation"}


class Ade150(Source):
    """``ADEChallengeData2016/{images,annotations}/{training,validation}`` and ``objectInfo150.txt``."""

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        self.vocabulary = Vocabulary("ade150", _read_names(root / "objectInfo150.txt"), IGNORE_8)
        self.table = shifted_table(len(self.vocabulary), IGNORE_8)
        folder = FOLDERS[split]
        images = list_files(root / "images" / folder, "*.jpg", ".jpg")
        labels = list_files(root / "annotations" / folder, "*.png", ".png")
        self.items = pair_files(images, labels)

    def decode(self, item: Item) -> Decoded:
        """Stored 0 (other) is ignored, stored k is class k - 1."""
        return Decoded(look_up(read_map(item.label), self.table, item.label))


def _read_names(path: Path) -> tuple[tuple[str, ...], ...]:
    """The fifth tab-separated column of every row after the header; the first column must count from 1."""
    # The official file has blanks after some of its numbers.
    rows = [[field.strip() for field in line.split("\t")] for line in read_lines(path)[1:]]
    for number, row in enumerate(rows, start=1):
        if len(row) != 5 or row[0] != str(number):
            raise UserError(
                f"{path}: row {number}", "is not `number, ratio, train, val, name`", "download this file again"
            )
    return tuple(split_names(row[4]) for row in rows)
