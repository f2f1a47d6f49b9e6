"""ADE20K scene parsing: 150 classes, stored as class + 1."""

from pathlib import Path

from opentrans.config import DataConfig
from opentrans.data.prepared import Vocabulary, read_map
from opentrans.data.sources.base import (
    IGNORE_8,
    Decoded,
    Item,
    Known,
    Source,
    list_files,
    look_up,
    pair_files,
    read_lines,
    shifted_table,
    split_names,
)
from opentrans.errors import UserError

_FOLDERS = {"train": "training", "val": "validation"}
_COLUMNS = {"train": 2, "val": 3}
OFFICIAL_IMAGES = {"train": 20210, "val": 2000}


class Ade150(Source):
    """``ADEChallengeData2016/{images,annotations}/{training,validation}`` and ``objectInfo150.txt``."""

    def __init__(self, root: Path, split: str, config: DataConfig) -> None:
        path = root / "objectInfo150.txt"
        rows = _read_rows(path)
        self.vocabulary = Vocabulary("ade150", tuple(split_names(row[-1]) for row in rows), IGNORE_8)
        self.table = shifted_table(len(self.vocabulary), IGNORE_8)

        folder = _FOLDERS[split]
        images = list_files(root / "images" / folder, "*.jpg", ".jpg")
        labels = list_files(root / "annotations" / folder, "*.png", ".png")
        self.items = pair_files(images, labels, config.allow_subset)

        # Of a subset the numbers beside the names say nothing.
        if len(self.items) == OFFICIAL_IMAGES[split]:
            self.known = Known(path, images=tuple(int(row[_COLUMNS[split]]) for row in rows))

    def decode(self, item: Item) -> Decoded:
        """Stored 0 (other) is ignored, stored k is class k - 1."""
        return Decoded(look_up(read_map(item.label), self.table, item.label))


def _read_rows(path: Path) -> list[list[str]]:
    """The tab-separated columns after the header; the first must count from 1, the last holds the names.

    Columns three and four are the numbers of training and validation images in which the class occurs.
    """
    # The official file has blanks after some of its numbers; a later edition has a column Stuff before the names.
    rows = [[field.strip() for field in line.split("\t")] for line in read_lines(path)[1:]]
    for number, row in enumerate(rows, start=1):
        if len(row) not in (5, 6) or row[0] != str(number) or not (row[2] + row[3]).isdecimal():
            problem = "is not `number, ratio, train, val, name`"
            raise UserError(f"{path}: row {number}", problem, "download this file again")
    return rows
