"""The paper's tables, read back through the experiment table, each value beside the paper's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from opentrans.errors import UserError
from opentrans.reporting.tidy import read_frame
from opentrans.runs.table import Experiment
from opentrans.system.files import write_text

PAPER_FIELDS = ("table", "row", "target", "metric", "value")
PUBLISHED = "published"  # the target of a literature row in the paper's values
QUOTED = " (quoted)"
# What each table shows beside mIoU; one that is not listed shows mIoU only.
MEASURES = {
    1: ("params", "flops"),
    2: ("training_flops",),
    3: ("params", "flops"),
    4: ("training_flops",),
    8: ("training_iterations",),
    9: ("cka_vs_clip",),
}
# Unit of the paper's value, and its factor.
UNITS = {"params": ("M", 1e6), "flops": ("G", 1e9), "training_flops": ("P", 1e15)}
TITLES = {
    "params": "Params",
    "flops": "FLOPs",
    "training_flops": "Training FLOPs",
    "training_iterations": "Training iterations",
    "cka_vs_clip": "CKA to CLIP",
    "mean": "mean",
}
PREFIXES = {"P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}


@dataclass(frozen=True)
class Sources:
    """What tables are made from.

    `results` as `collect_results` makes them; `measures` by metric: target, subnetwork, freeze, seed, value;
    `paper` the paper's values, one a row.
    """

    results: pd.DataFrame
    measures: Mapping[str, pd.DataFrame]
    paper: pd.DataFrame
    seeds: Sequence[int]


def read_captions(paths: Iterable[Path]) -> dict[str, str]:
    """Captions (plain paragraphs) by the name of their file: of ``table1.rst`` under ``table1``."""
    return {path.stem: " ".join(path.read_text(encoding="utf-8").split()) for path in paths}


def read_paper(path: Path) -> pd.DataFrame:
    """Read the paper's values, one a row."""
    return read_frame(path, PAPER_FIELDS, "restore it from the repository")


def build_table(number: int, experiments: Sequence[Experiment], sources: Sources) -> pd.DataFrame:
    """Table `number`: a row for each experiment, for each metric a column and the paper's (if any) beside it.

    Cells are text: one seed as a number, several as mean ± sample standard deviation, unmeasured ones empty.
    The paper's literature rows come first, marked as quoted.
    """
    ours = [row for row in experiments if row.table == number]
    rows: list[Experiment] = [*_quoted_rows(number, ours, sources.paper), *ours]
    if not ours:
        raise UserError(f"table {number}", "the experiment table has no row for it", "add rows, or ask for another")
    table = pd.DataFrame({"Method": [row.row + QUOTED * (row.target == PUBLISHED) for row in rows]})
    benchmarks = list(dict.fromkeys(name for row in ours if row.evaluate for name in row.benchmarks))
    for metric in [*benchmarks, *(["mean"] if benchmarks else [])]:
        names = benchmarks if metric == "mean" else [metric]
        table[f"{metric} (%)"] = [_show([f"{v:.1f}" for v in _summary(_mious(row, names, sources))]) for row in rows]
        table[f"{metric} paper"] = [_show_paper(_paper(row, names, sources), ".1f") for row in rows]
    for metric in MEASURES.get(number, ()):
        values = [_measures(row, metric, sources) for row in rows]
        unit, factor = _choose_unit(metric, [value for cell in values for value in cell])
        cells = [_summary([value / factor for value in cell]) for cell in values]
        table[TITLES[metric] + unit] = [_show([f"{v:.4g}" for v in cell]) for cell in cells]
        papers = [_paper(row, [metric], sources) for row in rows]
        name, style = (f" ({UNITS[metric][0]})", ".1f") if metric in UNITS else ("", ".6g")
        table[f"{TITLES[metric]} paper{name}"] = [_show_paper(value, style) for value in papers]
    quoted = [name for name in table.columns[1:] if " paper" in name]
    return table if (table[quoted] != "").any(axis=None) else table.drop(columns=quoted)


def _quoted_rows(number: int, ours: Sequence[Experiment], paper: pd.DataFrame) -> list[Experiment]:
    """The literature rows of a table: nothing of them is run."""
    columns = tuple(dict.fromkeys(name for row in ours for name in row.benchmarks))
    names = paper.loc[(paper["table"] == number) & (paper["target"] == PUBLISHED), "row"]
    return [Experiment(number, name, PUBLISHED, "", "", columns, True) for name in dict.fromkeys(names)]


def _select(frame: pd.DataFrame, row: Experiment, seeds: Sequence[int]) -> pd.DataFrame:
    same = (frame["target"] == row.target) & (frame["subnetwork"] == row.subnetwork) & (frame["freeze"] == row.freeze)
    return frame[same & frame["seed"].isin(seeds)]


def _mious(row: Experiment, benchmarks: Sequence[str], sources: Sources) -> list[float]:
    """The mean over `benchmarks` for each seed that has them all; nothing where the row does not name them."""
    if not (row.evaluate and set(benchmarks) <= set(row.benchmarks)):
        return []
    wanted = _select(sources.results, row, sources.seeds)
    wide = wanted.pivot(index="seed", columns="benchmark", values="miou").reindex(columns=list(benchmarks))
    return [float(value) for value in wide.dropna().mean(axis=1)]


def _measures(row: Experiment, metric: str, sources: Sources) -> list[float]:
    found = sources.measures.get(metric)
    return [] if found is None else [float(value) for value in _select(found, row, sources.seeds)["value"].dropna()]


def _paper(row: Experiment, metrics: Sequence[str], sources: Sources) -> float | None:
    """The paper's value, the mean over several `metrics`; None unless the paper has them all."""
    paper = sources.paper
    same = (paper["table"] == row.table) & (paper["row"] == row.row) & paper["metric"].isin(metrics)
    values = paper.loc[same, "value"]
    return float(values.mean()) if len(values) == len(metrics) else None


def _choose_unit(metric: str, values: Sequence[float]) -> tuple[str, float]:
    """The paper's unit in brackets, or a smaller one in which the largest value is at least 1; "" for plain numbers."""
    if metric not in UNITS:
        return "", 1.0
    unit, factor = UNITS[metric]
    largest = max(values, default=factor)
    fitting = [(name, size) for name, size in PREFIXES.items() if size <= min(largest, factor)]
    name, size = fitting[0] if fitting else (unit, factor)
    return f" ({name})", size


def _summary(values: Sequence[float]) -> list[float]:
    """Nothing, the value, or mean and sample standard deviation."""
    series = pd.Series(values, dtype=float)
    if series.nunique() == 1 and len(series) > 1:
        return [float(series[0]), 0.0]  # without the rounding of a mean of equal values
    return [*series] if len(series) < 2 else [float(series.mean()), float(series.std())]


def _show(parts: Sequence[str]) -> str:
    return " ± ".join(parts)


def _show_paper(value: float | None, style: str) -> str:
    return "" if value is None else format(value, style)


def write_caption(number: int, profile: str, seeds: Sequence[int], denominator: str, subject: str = "") -> str:
    """What a reader must know before comparing the columns; `subject` says what the table is of, where that is said."""
    spread = f"mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    subject = f"Table {number} of the paper, profile {profile}. {subject}".strip()
    measured = f"mIoU in % (classes: {denominator}), FLOPs are multiply-accumulates; {spread}; empty: not measured."
    if profile == "paper":
        return f"{subject} {measured}"
    warning = "Small models on small data: these figures are not comparable with the paper's."
    return f"{subject} {measured} {warning}"


def write_table(folder: Path, number: int, table: pd.DataFrame, caption: str) -> None:
    """Write ``table{number}.csv``, ``.md`` and ``.tex`` (booktabs)."""
    path = folder / f"table{number}"
    write_text(path.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n"))
    markdown = table.to_markdown(index=False, disable_numparse=True)
    write_text(path.with_suffix(".md"), f"{caption}\n\n{markdown}\n")
    write_text(path.with_suffix(".tex"), to_latex(table, caption, f"tab:table{number}"))


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """A floating booktabs table (needs the packages booktabs and graphicx)."""
    style = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    columns = "l" + "r" * (table.shape[1] - 1)
    body = style.to_latex(hrules=True, column_format=columns).replace("±", r"$\pm$")
    text = caption.replace("%", r"\%").replace("_", r"\_").replace("±", r"$\pm$")
    head = rf"\begin{{table}}[t]{chr(10)}\centering{chr(10)}\caption{{{text}}}{chr(10)}\label{{{label}}}{chr(10)}"
    return f"{head}\\resizebox{{\\linewidth}}{{!}}{{%\n{body.rstrip()}\n}}\n\\end{{table}}\n"
