"""Tables as numbers: a value stays a number, with its spread and the paper's value, until a renderer prints it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

# Units with a prefix, the largest first.
PREFIXES = {"P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}


@dataclass(frozen=True)
class Cell:
    """A measured number: mean and standard deviation over the seeds, and what the paper reports.

    All three are in `unit` without a prefix (``%``, or nothing for counts). What was not measured or is not in the
    paper is None, and so is the spread of a single seed.
    """

    mean: float | None = None
    std: float | None = None
    paper: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Tally:
    """In how many of `total` cases something is seen."""

    seen: int
    total: int


@dataclass(frozen=True)
class Column:
    """Cells of one kind below each other, and how their numbers are printed.

    `style` and `paper_style` are format specifications. A column with a `prefix` (that of the paper's value, such as
    ``M``) prints the measured values with it, too, or with a smaller one where they are smaller.
    """

    title: str
    cells: Sequence[Cell | Tally | str]
    style: str = ""
    paper_style: str = ""
    prefix: str = ""

    @property
    def numeric(self) -> bool:
        """Whether the cells are numbers."""
        return not any(isinstance(cell, str) for cell in self.cells)

    @property
    def numbers(self) -> list[Cell]:
        """The cells that are measured numbers: all or none."""
        return [cell for cell in self.cells if isinstance(cell, Cell)]


@dataclass(frozen=True)
class Table:
    """Columns of equal length."""

    columns: Sequence[Column]

    @property
    def shows_paper(self) -> bool:
        """Whether the paper has a value for any cell."""
        return any(cell.paper is not None for column in self.columns for cell in column.numbers)


def summarize(values: Sequence[float], paper: float | None = None, unit: str = "") -> Cell:
    """The cell of some seeds' values: their mean and sample standard deviation, the value itself of one seed."""
    if not values:
        return Cell(paper=paper, unit=unit)
    if len(values) == 1:
        return Cell(values[0], None, paper, unit)

    # A mean of equal values would show a spread made of rounding.
    if len(set(values)) == 1:
        return Cell(values[0], 0.0, paper, unit)
    series = pd.Series(values, dtype=float)
    return Cell(float(series.mean()), float(series.std()), paper, unit)
