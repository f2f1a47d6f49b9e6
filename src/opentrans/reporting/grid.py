"""A table of text as rows of cells for a page: a measured value and the paper's value share one cell."""

import re
from dataclasses import dataclass

import pandas as pd

UNIT = re.compile(r"^(?P<name>.*?)(?: \((?P<unit>[^()]*)\))?$")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Header:
    """A column's title, and below it what the paper's value is given in."""

    title: str
    paper: str | None
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """A value, what it is sorted by, and the paper's value (None where the column has none)."""

    text: str
    order: str
    paper: str | None


@dataclass(frozen=True)
class Grid:
    """Headers and rows of equal length."""

    headers: list[Header]
    rows: list[list[Cell]]


def build_grid(table: pd.DataFrame) -> Grid:
    """Pair each column ``NAME (unit)`` with the column ``NAME paper`` or ``NAME paper (unit)`` right after it.

    Args:
        table: cells are text.
    """
    columns = [str(column) for column in table.columns]
    pairs: list[tuple[str, str | None]] = []
    for place, column in enumerate(columns):
        if place and _belongs(column, columns[place - 1]):
            pairs[-1] = (columns[place - 1], column)
        else:
            pairs.append((column, None))
    headers = [Header(main, _describe_paper(main, paper), _is_numeric(table[main])) for main, paper in pairs]
    rows = [
        [_make_cell(str(record[main]), None if paper is None else str(record[paper])) for main, paper in pairs]
        for record in table.to_dict("records")
    ]
    return Grid(headers, rows)


def _split(column: str) -> tuple[str, str]:
    match = UNIT.match(column)
    return (match["name"], match["unit"] or "") if match else (column, "")


def _belongs(column: str, previous: str) -> bool:
    return _split(column)[0] == f"{_split(previous)[0]} paper"


def _describe_paper(main: str, paper: str | None) -> str | None:
    """``paper``, with its unit where that is not the measured column's."""
    if paper is None:
        return None
    unit = _split(paper)[1]
    return f"paper ({unit})" if unit and unit != _split(main)[1] else "paper"


def _is_numeric(values: pd.Series) -> bool:
    """Whether every filled cell begins with a number (36.0 ± 1.0 does)."""
    filled = [str(value) for value in values if str(value)]
    return bool(filled) and all(NUMBER.match(value) for value in filled)


def _make_cell(text: str, paper: str | None) -> Cell:
    number = NUMBER.match(text)
    return Cell(text, number.group() if number else text.casefold(), paper)
