"""What a run cost: the benchmark files that Snakemake writes for every job."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opentrans.errors import UserError
from opentrans.system.files import require_folder

_MADE_BY = "Snakemake writes these files; remove a damaged one and run its job again"


@dataclass(frozen=True)
class RuleCost:
    """All jobs of one rule: seconds of wall clock and of processor time, summed; the largest resident memory in MB."""

    rule: str
    jobs: int
    wall: float
    cpu: float
    memory: float


def read_costs_of_jobs(folders: Iterable[Path], without: Iterable[str] = ()) -> list[RuleCost]:
    """Sum ``{folder}/{rule}.tsv`` and ``{folder}/{rule}/*.tsv`` by rule over all folders; most processor time first.

    A job that Snakemake ran several times counts each time. `without` names rules to leave out.

    Raises:
        UserError: a folder is not there, or a file lacks a column.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for folder in folders:
        require_folder(folder, "run the workflow first")
        for path in sorted(folder.rglob("*.tsv")):
            rule = path.relative_to(folder).with_suffix("").parts[0]
            if rule not in without:
                rows.setdefault(rule, []).extend(_read_jobs(path))

    costs = [
        RuleCost(rule, len(jobs), sum(job[0] for job in jobs), sum(job[1] for job in jobs), max(job[2] for job in jobs))
        for rule, jobs in rows.items()
        if jobs
    ]
    return sorted(costs, key=lambda cost: (-cost.cpu, cost.rule))


def sum_costs(costs: Sequence[RuleCost]) -> RuleCost:
    """The cost of all rules together."""
    return RuleCost(
        rule="all",
        jobs=sum(cost.jobs for cost in costs),
        wall=sum(cost.wall for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        memory=max((cost.memory for cost in costs), default=0.0),
    )


def _read_jobs(path: Path) -> list[tuple[float, float, float]]:
    """Wall clock, processor time, memory of each line; what Snakemake could not measure (NA, -) counts 0."""
    header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    fields = header.split("\t")
    missing = [field for field in ("s", "cpu_time", "max_rss") if field not in fields]
    if missing:
        raise UserError(path, f"column {missing[0]} is missing", _MADE_BY)
    rows = [dict(zip(fields, line.split("\t"), strict=False)) for line in lines]
    return [(_number(row, "s"), _number(row, "cpu_time"), _number(row, "max_rss")) for row in rows]


def _number(row: dict[str, str], field: str) -> float:
    try:
        value = float(row.get(field, ""))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def format_time(seconds: float) -> str:
    """Seconds as a person says them: 12 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
