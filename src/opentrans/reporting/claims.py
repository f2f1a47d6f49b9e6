"""The paper's claims as the claims table fixes them before a run: what is compared, by what, in which family.

A claim compares rows of the experiment table, which are looked up by id in this run's results and in the paper's
values. Several lines of the claims table may belong to one claim; their effects are averaged.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_args

from opentrans.config import Benchmark
from opentrans.errors import UserError
from opentrans.reporting.verdicts import Hypothesis, Relation
from opentrans.runs.table import Experiment
from opentrans.system.files import read_csv

CLAIM_FIELDS = (
    "claim", "text", "family", "relation", "margin", "metric", "benchmarks",
    "left", "right", "minus_left", "minus_right", "minus_benchmarks", "paper_right",
)  # fmt: skip
# Set by the settings or counted by them. Their effects are changes in percent.
COUNTED = ("params", "flops", "training_flops", "training_iterations")
# Said of one row by itself: there is nothing to compare it with.
ALPHA_METRICS = ("alpha_change", "alpha_depth_gap", "deep_alpha_change", "alpha_below_2")
# What an effect is measured in.
UNITS = {"miou": "points of mIoU", "cka_vs_clip": "CKA"}
UNITS |= dict.fromkeys(COUNTED, "percent")
UNITS |= {"alpha_change": "percent", "alpha_depth_gap": "alpha", "deep_alpha_change": "alpha"}
UNITS |= {"alpha_below_2": "percent of layers"}
_Name = TypeVar("_Name", bound=str)
_REMEDY = "config/README.md describes the columns of the claims table"
# In which columns the lines of one claim agree.
_SHARED = ("family", "relation", "margin", "metric")


@dataclass(frozen=True)
class Contrast:
    """Left minus right by one metric, for mIoU the mean over `benchmarks`; `right` is None for a row by itself.

    `paper_right` is the paper's row that stands for `right`: mostly the same id.
    """

    left: Experiment
    right: Experiment | None
    paper_right: str
    metric: str
    benchmarks: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Under what the values to compare are looked up: the benchmarks of mIoU, or the metric."""
        return self.benchmarks if self.metric == "miou" else (self.metric,)


@dataclass(frozen=True)
class Comparison:
    """One line: a contrast, or for an interaction a contrast from which another one is subtracted."""

    contrast: Contrast
    minus: Contrast | None


@dataclass(frozen=True)
class Claim:
    """A claim and the comparisons that bear on it; `family` is empty where nothing is tested."""

    name: str
    text: str
    family: str
    metric: str
    hypothesis: Hypothesis
    comparisons: tuple[Comparison, ...]

    @property
    def rows(self) -> list[Experiment]:
        """The rows that it compares, each once."""
        contrasts = [part for line in self.comparisons for part in (line.contrast, line.minus) if part is not None]
        rows = [row for part in contrasts for row in (part.left, part.right) if row is not None]
        return list(dict.fromkeys(rows))

    @property
    def unit(self) -> str:
        """What its effect is measured in."""
        return UNITS[self.metric]


def read_claims(path: Path, experiments: Sequence[Experiment]) -> list[Claim]:
    """Read the claims table.

    Raises:
        UserError: a row that the experiments lack, an unknown name, or a family, margin or second pair that the
            relation needs or cannot have, by file, line and column.
    """
    known = {row.id: row for row in experiments}
    claims: dict[str, Claim] = {}
    first_lines: dict[str, Mapping[str, str]] = {}

    for number, line in enumerate(read_csv(path, CLAIM_FIELDS, _REMEDY), start=2):
        where = f"{path}: line {number}"
        comparison = _read_comparison(line, known, where)

        first = first_lines.setdefault(line["claim"], line)
        if first is line:
            hypothesis = _read_hypothesis(line, where)
            claims[line["claim"]] = Claim(
                line["claim"], line["text"], line["family"], line["metric"], hypothesis, (comparison,)
            )
            continue

        different = [field for field in _SHARED if line[field] != first[field]]
        if different:
            raise UserError(f"{where}, column {different[0]}", "differs from the claim's first line", _REMEDY)
        claim = claims[line["claim"]]
        claims[claim.name] = replace(claim, comparisons=(*claim.comparisons, comparison))

    return list(claims.values())


def _read_hypothesis(line: Mapping[str, str], where: str) -> Hypothesis:
    relation = _require(line["relation"], get_args(Relation), f"{where}, column relation")
    hypothesis = Hypothesis(relation, _read_margin(line["margin"], f"{where}, column margin"))

    if hypothesis.needs_margin != (hypothesis.margin > 0):
        problem = "is missing" if hypothesis.needs_margin else f"is of no use to the relation {relation!r}"
        raise UserError(f"{where}, column margin", problem, _REMEDY)
    if hypothesis.is_tested != bool(line["family"]):
        problem = "is missing" if hypothesis.is_tested else f"is of no use to the relation {relation!r}"
        raise UserError(f"{where}, column family", problem, _REMEDY)
    return hypothesis


def _read_margin(cell: str, where: str) -> float:
    """A positive number, or 0 for an empty cell."""
    try:
        margin = float(cell or 0)
    except ValueError:
        raise UserError(where, f"{cell!r} is no number", _REMEDY) from None
    if not 0 <= margin < float("inf"):
        raise UserError(where, f"{cell!r} is no positive number", _REMEDY)
    return margin


def _read_comparison(line: Mapping[str, str], known: Mapping[str, Experiment], where: str) -> Comparison:
    metric = _require(line["metric"], UNITS, f"{where}, column metric")
    contrast = _read_contrast(line, "", metric, known, where)

    interacts = line["relation"] == "interaction"
    for field in ("minus_left", "minus_right"):
        if interacts != bool(line[field]):
            problem = "is missing" if interacts else "only interactions subtract a second pair"
            raise UserError(f"{where}, column {field}", problem, _REMEDY)
    return Comparison(contrast, _read_contrast(line, "minus_", metric, known, where) if interacts else None)


def _read_contrast(
    line: Mapping[str, str], prefix: str, metric: str, known: Mapping[str, Experiment], where: str
) -> Contrast:
    """The contrast whose columns begin with `prefix`."""
    left = _find_row(line[f"{prefix}left"], known, f"{where}, column {prefix}left")
    key = line[f"{prefix}right"]
    if metric in ALPHA_METRICS and key:
        raise UserError(f"{where}, column {prefix}right", f"{metric} is said of one row by itself", _REMEDY)

    right = None if metric in ALPHA_METRICS else _find_row(key, known, f"{where}, column {prefix}right")
    benchmarks: tuple[str, ...] = ()
    if metric == "miou" and right is not None:
        cell = line[f"{prefix}benchmarks"]
        benchmarks = _read_benchmarks(cell, left, right, f"{where}, column {prefix}benchmarks")
    paper_right = key if prefix else line["paper_right"] or key
    return Contrast(left, right, paper_right, metric, benchmarks)


def _read_benchmarks(cell: str, left: Experiment, right: Experiment, where: str) -> tuple[str, ...]:
    """Those named in the cell; for ``all`` every one that both rows fill."""
    if cell == "all":
        return tuple(name for name in left.benchmarks if name in right.benchmarks)
    names = tuple(dict.fromkeys(cell.split()))
    for name in names or ("",):
        _require(name, get_args(Benchmark), where)
    return names


def _require(value: str, known: Collection[_Name], where: str) -> _Name:
    for name in known:
        if name == value:
            return name
    raise UserError(where, f"{value!r} is unknown", f"take one of {', '.join(known)}; {_REMEDY}")


def _find_row(key: str, known: Mapping[str, Experiment], where: str) -> Experiment:
    if key not in known:
        raise UserError(where, f"no experiment has the id {key!r}", "take an id of the experiment table")
    return known[key]
