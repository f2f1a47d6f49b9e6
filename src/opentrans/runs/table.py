"""The experiment table: one row is one row of one of the paper's tables.

Only the standard library is imported: the workflow reads the experiment table while it plans.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

from opentrans.errors import UserError
from opentrans.system.files import read_csv

if TYPE_CHECKING:
    from opentrans.config import Config

EXPERIMENT_FIELDS = ("id", "table", "row", "target", "subnetwork", "freeze", "benchmarks", "evaluate")
_REMEDY = "config/README.md describes the columns of the experiment table"
_ID = re.compile(r"[a-z0-9_]+")
_Value = TypeVar("_Value")


@dataclass(frozen=True, order=True)
class RunId:
    """The names that identify a training run: what a checkpoint is looked up by."""

    target: str
    subnetwork: str
    freeze: str
    seed: int


@dataclass(frozen=True, order=True)
class WorldId:
    """The seed that a world and a teacher are drawn from, where every seed has its own."""

    seed: int


@dataclass(frozen=True, order=True)
class SubnetworkId:
    """The names that identify a subnetwork; every run that starts from it shares it."""

    subnetwork: str
    seed: int


@dataclass(frozen=True)
class Experiment:
    """One row of a table.

    `id` joins it with the claims and the paper's values. `row` is the label that the table prints. `evaluate` is False
    where only the costs are shown (Table 4), `skipped` True where the profile leaves the row out. `note` says in what
    it is not the experiment behind the paper's row.
    """

    id: str
    table: int
    row: str
    target: str
    subnetwork: str
    freeze: str
    benchmarks: tuple[str, ...]
    evaluate: bool
    skipped: bool = False
    note: str = ""


def read_experiments(path: Path, config: "Config") -> list[Experiment]:
    """Read and check the experiment table; names must be those of the configuration.

    Raises:
        UserError: names file, row (as a line number, header = 1) and column of the first wrong cell.
    """
    rows = read_csv(path, EXPERIMENT_FIELDS, _REMEDY)
    experiments = [_read_experiment(f"{path}: line {number}", row, config) for number, row in enumerate(rows, start=2)]
    if not experiments:
        raise UserError(path, "holds no experiment", _REMEDY)

    # A second row of one id could not be told from the first, nor could a reader tell two rows of one label.
    ids: set[str] = set()
    labels: set[tuple[int, str]] = set()
    for number, row in enumerate(experiments, start=2):
        if row.id in ids:
            remedy = "give each row an id of its own"
            raise UserError(f"{path}: line {number}, column id", f"{row.id!r} occurs twice", remedy)
        if (row.table, row.row) in labels:
            problem = f"{row.row!r} occurs twice in table {row.table}"
            raise UserError(f"{path}: line {number}, column row", problem, "give each row of a table its own label")
        ids.add(row.id)
        labels.add((row.table, row.row))

    return experiments


def _read_experiment(where: str, row: Mapping[str, str | None], config: "Config") -> Experiment:
    cells = {field: (row[field] or "").strip() for field in EXPERIMENT_FIELDS}

    if not _ID.fullmatch(cells["id"]):
        problem = f"{cells['id']!r} is not made of small letters, digits and underscores"
        raise UserError(f"{where}, column id", problem, f"write one such as t1_han_ours; {_REMEDY}")

    for field, known in (
        ("target", config.targets),
        ("subnetwork", config.subnetworks),
        ("freeze", config.freezing),
        ("evaluate", ("yes", "no")),
    ):
        _require(cells[field], known, f"{where}, column {field}")

    if not cells["table"].isdecimal() or not cells["row"]:
        field = "row" if cells["table"].isdecimal() else "table"
        raise UserError(f"{where}, column {field}", f"{cells[field]!r} is not a table's number or a label", _REMEDY)

    return Experiment(
        id=cells["id"],
        table=int(cells["table"]),
        row=cells["row"],
        target=cells["target"],
        subnetwork=cells["subnetwork"],
        freeze=cells["freeze"],
        benchmarks=_read_benchmarks(cells["benchmarks"], config, f"{where}, column benchmarks"),
        evaluate=cells["evaluate"] == "yes",
        skipped=cells["id"] in config.skip,
        note=(row.get("note") or "").strip(),
    )


def _read_benchmarks(cell: str, config: "Config", where: str) -> tuple[str, ...]:
    """``all``, or names separated by spaces; those that are configured, in the configuration's order."""
    if cell == "all":
        return tuple(config.benchmarks)

    # Imported here, where a configuration has been read already.
    from opentrans.config import Benchmark

    names = cell.split()
    for name in names or [""]:
        _require(name, get_args(Benchmark), where)
    return tuple(name for name in config.benchmarks if name in names)


def _require(value: str, known: Collection[str], where: str) -> None:
    if value not in known:
        raise UserError(where, f"{value!r} is none of {', '.join(known)}", f"take one of these; {_REMEDY}")


def get_named(section: Mapping[str, _Value], name: str, where: str) -> _Value:
    """The entry `name` of a section of the configuration, or a `UserError` that lists what there is."""
    _require(name, section, where)
    return section[name]


def runs_of(
    experiments: Iterable[Experiment], tables: Collection[int], seeds: Sequence[int], evaluated_only: bool = False
) -> list[RunId]:
    """The runs that the rows of `tables` need, each once, in the experiment table's order.

    Rows that the profile skips ask for none, nor with `evaluated_only` those that show only costs (another row may
    still ask for the same run).
    """
    planned = [row for row in experiments if row.table in tables and not row.skipped]
    rows = [row for row in planned if row.evaluate or not evaluated_only]
    runs = (RunId(row.target, row.subnetwork, row.freeze, seed) for seed in seeds for row in rows)
    return list(dict.fromkeys(runs))
