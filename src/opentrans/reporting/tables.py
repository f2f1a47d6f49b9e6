"""The paper's tables, read back through the experiment table, each value beside the paper's."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from opentrans.errors import UserError
from opentrans.reporting.cells import PREFIXES, Cell, Column, Table, summarize
from opentrans.reporting.evidence import Evidence
from opentrans.reporting.render import to_csv, to_html, to_latex, to_markdown
from opentrans.runs.paper import PaperRow
from opentrans.runs.table import Experiment
from opentrans.system.files import write_text

QUOTED = " (quoted)"
MARK = " †"  # on a row that is not the experiment behind the paper's row
# What each table shows beside mIoU; one that is not listed shows mIoU only.
MEASURES = {
    1: ("params", "flops"),
    2: ("training_flops",),
    3: ("params", "flops"),
    4: ("training_flops",),
    8: ("training_iterations", "rounds", "density"),
    9: ("cka_vs_clip",),
}
# With which prefix the paper prints a measure.
PAPER_PREFIXES = {"params": "M", "flops": "G", "training_flops": "P"}
TITLES = {
    "params": "Params",
    "flops": "FLOPs",
    "training_flops": "Training FLOPs",
    "training_iterations": "Training iterations",
    "rounds": "Rounds",
    "density": "Density",
    "cka_vs_clip": "CKA to CLIP",
}


def read_captions(paths: Iterable[Path]) -> dict[str, str]:
    """Captions (plain paragraphs) by the name of their file: of ``table1.rst`` under ``table1``."""
    return {path.stem: " ".join(path.read_text(encoding="utf-8").split()) for path in paths}


def build_table(number: int, experiments: Sequence[Experiment], evidence: Evidence) -> Table:
    """Table `number`: a row for each experiment, a column for each benchmark, their mean and each measure.

    The rows that the paper quotes from the literature come first, marked as quoted; nothing of them is measured.

    Raises:
        UserError: the experiment table has no row for it.
    """
    ours = [row for row in experiments if row.table == number]
    if not ours:
        raise UserError(f"table {number}", "the experiment table has no row for it", "add rows, or ask for another")
    quoted = [row for row in evidence.paper.values() if row.table == number and row.from_literature]
    rows: list[Experiment | PaperRow] = [*quoted, *ours]

    columns = [
        Column(
            "Method",
            [*(row.label + QUOTED for row in quoted), *(row.row + MARK if row.note else row.row for row in ours)],
        )
    ]
    benchmarks = list(dict.fromkeys(name for row in ours if row.evaluate for name in row.benchmarks))
    for name in benchmarks:
        columns.append(_make_miou_column(name, [name], rows, evidence))
    if benchmarks:
        columns.append(_make_miou_column("mean", benchmarks, rows, evidence))
    columns.extend(_make_measure_column(metric, rows, evidence) for metric in MEASURES.get(number, ()))

    return Table(columns)


def _make_miou_column(
    title: str, benchmarks: Sequence[str], rows: Sequence[Experiment | PaperRow], evidence: Evidence
) -> Column:
    """The mean mIoU over `benchmarks`; the paper's where it has them all."""
    cells = []
    for row in rows:
        quoted = [evidence.quote(row, name) for name in benchmarks]
        known = [value for value in quoted if value is not None]
        paper = sum(known) / len(known) if len(known) == len(benchmarks) else None
        cells.append(summarize(_average(row, benchmarks, evidence), paper, "%"))
    return Column(title, cells, ".1f", ".1f")


def _average(row: Experiment | PaperRow, benchmarks: Sequence[str], evidence: Evidence) -> list[float]:
    """The mean over `benchmarks` for each seed that has them all; nothing where the row does not name them."""
    if isinstance(row, PaperRow) or not (row.evaluate and set(benchmarks) <= set(row.benchmarks)):
        return []
    wide = evidence.measure(row, benchmarks).pivot(index="seed", columns="metric", values="value")
    return [float(value) for value in wide.reindex(columns=list(benchmarks)).dropna().mean(axis=1)]


def _make_measure_column(metric: str, rows: Sequence[Experiment | PaperRow], evidence: Evidence) -> Column:
    """A measure such as ``params``; those that the paper prints with a prefix have one of its decimals."""
    prefix = PAPER_PREFIXES.get(metric, "")
    cells: list[Cell] = []
    for row in rows:
        quoted = evidence.quote(row, metric)
        paper = None if quoted is None else quoted * PREFIXES.get(prefix, 1.0)
        measured = [] if isinstance(row, PaperRow) else list(evidence.measure(row, [metric])["value"].dropna())
        cells.append(summarize([float(value) for value in measured], paper))
    return Column(TITLES[metric], cells, ".4g", ".1f" if prefix else ".6g", prefix)


def write_notes(number: int, experiments: Sequence[Experiment]) -> str:
    """What the marks in a table mean: in what its rows are not the paper's experiments; empty where all are."""
    notes: dict[str, list[str]] = {}
    for row in experiments:
        if row.table == number and row.note:
            notes.setdefault(row.note, []).append(row.row)
    texts = [f"{', '.join(labels)}: {note}" for note, labels in notes.items()]
    return f"{MARK.strip()} Not the paper's experiment. {'; '.join(texts)}." if texts else ""


def write_caption(number: int, profile: str, seeds: Sequence[int], denominator: str, subject: str = "") -> str:
    """What a reader must know before comparing the columns; `subject` says what the table is of, where that is said."""
    spread = f"mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    subject = f"Table {number} of the paper, profile {profile}. {subject}".strip()
    measured = f"mIoU in % (classes: {denominator}), FLOPs are multiply-accumulates; {spread}; empty: not measured."
    if profile == "paper":
        return f"{subject} {measured}"
    warning = "Small models on small data: these values are not comparable with the paper's."
    return f"{subject} {measured} {warning}"


def write_table(folder: Path, number: int, table: Table, caption: str) -> None:
    """Write ``table{number}.csv``, ``.md``, ``.tex`` (booktabs) and ``.html`` (a section of the report's page)."""
    path = folder / f"table{number}"
    write_text(path.with_suffix(".csv"), to_csv(table))
    write_text(path.with_suffix(".md"), to_markdown(table, caption))
    write_text(path.with_suffix(".tex"), to_latex(table, caption, f"tab:{path.name}"))
    write_text(path.with_suffix(".html"), to_html(table, caption, path.name))
