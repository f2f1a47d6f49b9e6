"""The paper's own values, and those that it quotes from the literature: ``config/paper_results.csv``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opentrans.errors import UserError
from opentrans.system.files import read_csv

_FIELDS = ("id", "table", "row", "source", "metric", "value")
_REMEDY = "correct the line, or restore the file from the repository"
_PAPER, _LITERATURE = "paper", "literature"


@dataclass(frozen=True)
class PaperRow:
    """A row of one of the paper's tables, as the paper prints it.

    `id` is that of the experiment that repeats the row; a row `from_literature` is quoted and has none. `values` are by
    metric (``coco``, ``params``), in the unit that the paper prints.
    """

    id: str
    table: int
    label: str
    from_literature: bool
    values: Mapping[str, float]


def read_paper(path: Path) -> dict[str, PaperRow]:
    """The rows of the paper's tables by id, in the paper's order.

    Raises:
        UserError: names file, line and column of the first wrong cell.
    """
    heads: dict[str, tuple[int, str, bool]] = {}
    values: dict[str, dict[str, float]] = {}

    for number, line in enumerate(read_csv(path, _FIELDS, _REMEDY), start=2):
        where, key = f"{path}: line {number}", line["id"]
        head = _read_head(line, where)
        if heads.setdefault(key, head) != head:
            raise UserError(f"{where}, column id", f"{key!r} has another table, row or source above", _REMEDY)

        row = values.setdefault(key, {})
        if line["metric"] in row:
            problem = f"{key!r} has {line['metric']!r} already"
            raise UserError(f"{where}, column metric", problem, _REMEDY)
        row[line["metric"]] = _read_value(line, where)

    return {key: PaperRow(key, *head, values[key]) for key, head in heads.items()}


def _read_head(line: Mapping[str, str], where: str) -> tuple[int, str, bool]:
    """What all lines of a row repeat: table, label, whether it is from the literature."""
    if not line["id"]:
        raise UserError(f"{where}, column id", "is empty", _REMEDY)
    if not line["table"].isdecimal():
        raise UserError(f"{where}, column table", f"{line['table']!r} is not a table's number", _REMEDY)
    if line["source"] not in (_PAPER, _LITERATURE):
        problem = f"{line['source']!r} is neither {_PAPER} nor {_LITERATURE}"
        raise UserError(f"{where}, column source", problem, _REMEDY)
    return int(line["table"]), line["row"], line["source"] == _LITERATURE


def _read_value(line: Mapping[str, str], where: str) -> float:
    try:
        return float(line["value"])
    except ValueError:
        raise UserError(f"{where}, column value", f"{line['value']!r} is no number", _REMEDY) from None
