"""The experiment table: one row is one row of one of the paper's tables.

Only the standard library is imported: the workflow reads the experiment table while it plans.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from opentrans.errors import UserError
from opentrans.system.files import read_csv

if TYPE_CHECKING:
    from opentrans.config import Config

FIELDS = ("table", "row", "target", "subnetwork", "freeze", "benchmarks", "evaluate")
BENCHMARKS = ("coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459")
REMEDY = "config/README.md describes the columns of the experiment table"
_Value = TypeVar("_Value")


@dataclass(frozen=True, order=True)
class RunId:
    """The names that identify a training run: what a checkpoint is looked up by."""

    target: str
    subnetwork: str
    freeze: str
    seed: int


@dataclass(frozen=True, order=True)
class SubnetworkId:
    """The names that identify a subnetwork; every run that starts from it shares it."""

    subnetwork: str
    seed: int


@dataclass(frozen=True)
class Experiment:
    """One row of a table. `evaluate` is False where only the costs are shown (Table 4)."""

    table: int
    row: str
    target: str
    subnetwork: str
    freeze: str
    benchmarks: tuple[str, ...]
    evaluate: bool


def read_experiments(path: Path, config: "Config") -> list[Experiment]:
    """Read and check the experiment table; names must be those of the configuration.

    Raises:
        UserError: names file, row (as a line number, header = 1) and column of the first wrong cell.
    """
    rows = read_csv(path, FIELDS, REMEDY)
    experiments = [_experiment(f"{path}: line {number}", row, config) for number, row in enumerate(rows, start=2)]
    if not experiments:
        raise UserError(path, "holds no experiment", REMEDY)

    # The paper's values are joined by table and label.
    seen: set[tuple[int, str]] = set()
    for number, experiment in enumerate(experiments, start=2):
        if (experiment.table, experiment.row) in seen:
            problem = f"{experiment.row!r} occurs twice in table {experiment.table}"
            raise UserError(f"{path}: line {number}, column row", problem, "give each row of a table its own label")
        seen.add((experiment.table, experiment.row))

    return experiments


def _experiment(where: str, row: Mapping[str, str | None], config: "Config") -> Experiment:
    cells = {field: (row[field] or "").strip() for field in FIELDS}

    for field, known in (
        ("target", config.targets),
        ("subnetwork", config.subnetworks),
        ("freeze", config.freezing),
        ("evaluate", ("yes", "no")),
    ):
        _require(cells[field], known, f"{where}, column {field}")

    if not cells["table"].isdecimal() or not cells["row"]:
        field = "row" if cells["table"].isdecimal() else "table"
        raise UserError(f"{where}, column {field}", f"{cells[field]!r} is not a table's number or a label", REMEDY)

    return Experiment(
        table=int(cells["table"]),
        row=cells["row"],
        target=cells["target"],
        subnetwork=cells["subnetwork"],
        freeze=cells["freeze"],
        benchmarks=_benchmarks(cells["benchmarks"], config, f"{where}, column benchmarks"),
        evaluate=cells["evaluate"] == "yes",
    )


def _benchmarks(cell: str, config: "Config", where: str) -> tuple[str, ...]:
    """``all``, or names separated by spaces; those that are configured, in the configuration's order."""
    if cell == "all":
        return tuple(config.benchmarks)
    names = cell.split()
    for name in names or [""]:
        _require(name, BENCHMARKS, where)
    return tuple(name for name in config.benchmarks if name in names)


def _require(value: str, known: Collection[str], where: str) -> None:
    if value not in known:
        raise UserError(where, f"{value!r} is none of {', '.join(known)}", f"take one of these; {REMEDY}")


def get_named(section: Mapping[str, _Value], name: str, where: str) -> _Value:
    """The entry `name` of a section of the configuration, or a `UserError` that lists what there is."""
    _require(name, section, where)
    return section[name]


def runs_of(
    experiments: Iterable[Experiment], tables: Collection[int], seeds: Sequence[int], evaluated_only: bool = False
) -> list[RunId]:
    """The runs that the rows of `tables` need, each once, in the experiment table's order.

    With `evaluated_only` rows that show only costs are left out (another row may still ask for the same run).
    """
    rows = [row for row in experiments if row.table in tables and (row.evaluate or not evaluated_only)]
    runs = (RunId(row.target, row.subnetwork, row.freeze, seed) for seed in seeds for row in rows)
    return list(dict.fromkeys(runs))
