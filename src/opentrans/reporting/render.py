"""A table as CSV, Markdown, LaTeX or HTML."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from opentrans.reporting.cells import PREFIXES, Cell, Column, Table, Tally

NUMBERED = re.compile(r"^(?P<kind>table|figure)(?P<number>\d+)(?:_(?P<rest>\w+))?$")
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class _Printer:
    """How the cells of one column are printed.

    `header` and `paper_header` are the two columns' titles; `paper_unit` what the paper's values are given in, where
    that differs from the measured ones'.
    """

    column: Column
    header: str
    paper_header: str
    paper_unit: str
    size: float
    paper_size: float

    def show(self, cell: Cell | Tally | str) -> str:
        """The measured value and its spread, or other text."""
        if isinstance(cell, str):
            return cell
        if isinstance(cell, Tally):
            return f"{cell.seen} of {cell.total}" if cell.total else ""
        numbers = [number for number in (cell.mean, cell.std) if number is not None]
        return " ± ".join(format(number / self.size, self.column.style) for number in numbers)

    def show_paper(self, cell: Cell) -> str:
        """The paper's value; nothing where it has none."""
        return "" if cell.paper is None else format(cell.paper / self.paper_size, self.column.paper_style)

    def get_sort_key(self, cell: Cell | Tally | str) -> str:
        """What a page sorts the cell by: its number, or its letters in lower case."""
        if isinstance(cell, str):
            return cell.casefold()
        if isinstance(cell, Tally):
            return str(cell.seen) if cell.total else ""
        return "" if cell.mean is None else format(cell.mean / self.size, self.column.style)


def _make_printer(column: Column) -> _Printer:
    unit = column.numbers[0].unit if column.numbers else ""
    prefix = _choose_prefix(column)
    paper_header = f"{column.title} paper"
    return _Printer(
        column=column,
        header=f"{column.title} ({prefix}{unit})" if prefix or unit else column.title,
        paper_header=f"{paper_header} ({column.prefix}{unit})" if column.prefix else paper_header,
        paper_unit="" if prefix == column.prefix else f"{column.prefix}{unit}",
        size=PREFIXES.get(prefix, 1.0),
        paper_size=PREFIXES.get(column.prefix, 1.0),
    )


def _choose_prefix(column: Column) -> str:
    """The paper's prefix, or a smaller one with which the largest value is at least 1."""
    means = [cell.mean for cell in column.numbers if cell.mean is not None]
    if not column.prefix or not means:
        return column.prefix
    fitting = [name for name, size in PREFIXES.items() if size <= min(max(means), PREFIXES[column.prefix])]
    return fitting[0] if fitting else column.prefix


def _make_frame(table: Table) -> pd.DataFrame:
    """The table as text, the paper's values in columns beside the measured ones."""
    frame = pd.DataFrame()
    for printer in map(_make_printer, table.columns):
        frame[printer.header] = [printer.show(cell) for cell in printer.column.cells]
        if table.shows_paper and printer.column.numbers:
            frame[printer.paper_header] = [printer.show_paper(cell) for cell in printer.column.numbers]
    return frame


def to_csv(table: Table) -> str:
    """Comma-separated values with a header."""
    return _make_frame(table).to_csv(index=False, lineterminator="\n")


def to_markdown(table: Table, caption: str) -> str:
    """A pipe table under its caption."""
    body = _make_frame(table).to_markdown(index=False, disable_numparse=True)
    return f"{caption}\n\n{body}\n"


def to_latex(table: Table, caption: str, label: str) -> str:
    """A floating booktabs table (needs the packages booktabs and graphicx)."""
    frame = _make_frame(table)
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    columns = "l" + "r" * (frame.shape[1] - 1)
    body = style.to_latex(hrules=True, column_format=columns).replace("±", r"$\pm$").replace("†", r"$\dagger$").rstrip()
    text = caption.replace("%", r"\%").replace("_", r"\_").replace("±", r"$\pm$").replace("†", r"$\dagger$")

    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{text}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\linewidth}{!}{%",
        body,
        "}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_html(table: Table, caption: str, name: str, explanation: str = "") -> str:
    """A section of the report's page: a measured value and the paper's share a cell.

    Args:
        table: the numbers.
        caption: what stands above it.
        name: of the section, ``table1``; its title follows from it.
        explanation: paragraphs that a reader may unfold.
    """
    printers = [_make_printer(column) for column in table.columns]

    section = (
        make_environment()
        .get_template("table.html")
        .render(
            name=name,
            title=get_section_title(name),
            caption=caption,
            explanation=[paragraph for paragraph in explanation.split("\n\n") if paragraph],
            printers=printers,
            rows=list(zip(*(column.cells for column in table.columns), strict=True)),
            shows_paper=table.shows_paper,
        )
    )
    return f"{section}\n"


def make_environment() -> Environment:
    """Where the templates of the report's page are rendered."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def get_section_title(name: str) -> str:
    """``table10`` -> Table 10, ``table1_mean`` -> Table 1: mean, ``miou_density`` -> mIoU density."""
    match = NUMBERED.match(name)
    if match:
        rest = f": {match['rest'].replace('_', ' ')}" if match["rest"] else ""
        return f"{match['kind'].capitalize()} {match['number']}{rest}"
    words = name.replace("_", " ")
    return (words[0].upper() + words[1:]).replace("Miou", "mIoU")
