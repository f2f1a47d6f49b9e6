"""``docs/cost-of-the-paper.md``: the jobs that every table needs, and their GPU-hours where a GPU was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opentrans.config import SEARCHING, Config
from opentrans.costs.workload import count_pruning_steps
from opentrans.data.downloads import DOWNLOADS
from opentrans.runs.table import RunId, read_experiments, runs_of
from opentrans.system.files import write_text

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/cost-of-the-paper.md"
EXPERIMENT_TABLE = ROOT / "config/experiments.csv"
HEAD = """# What the paper's tables cost on GPUs

Written by `python -m benchmarks.gpu_training` from `config/paper.yaml`, `config/experiments.csv` and
`benchmarks/results/gpu/gpu_training.json`; nothing here is typed by hand.
"""
NOT_RUN = """
**Not measured on a GPU yet.** No GPU was at hand: the hours stay empty until somebody runs

```
python -m benchmarks.gpu_training
```

on a machine with one (it takes minutes, needs no data and no weights), which also renews this page.
"""
FOOT = """
A training step is timed at one GPU's share of the global batch, so GPU-hours are that time, times the iterations, times
the GPUs; exchange of gradients and loading of data are not in it. A run, subnetwork or evaluation that several tables
share is counted in each of them and once in the total. Evaluation is one GPU.
"""
Record = Mapping[str, Any]


def write_page(path: Path, config: Config, record: Record | None) -> None:
    """Write the page; without a record of a GPU its hours are empty."""
    measured = record if record and record["machine"]["gpu"] else None
    write_text(path, HEAD + (describe(measured) if measured else NOT_RUN) + "\n" + hours(config, measured) + FOOT)


def describe(record: Record) -> str:
    """The measured numbers and the machine."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [f"\n{machine['gpu']}, CUDA {machine['cuda']}, Python {machine['python']}, {versions}.\n"]
    lines += ["| | images/s of one GPU | peak GPU memory (MiB) |", "|---|---:|---:|"]
    for target, states in record["targets"].items():
        lines += [_row(f"{target}, {name}", state) for name, state in states.items() if isinstance(state, dict)]
    return "\n".join([*lines, _row("search", record["search"])]) + "\n"


def _row(name: str, measured: Record) -> str:
    return f"| {name} | {measured['images_per_s']:.1f} | {measured['peak_mib']:.0f} |"


def hours(config: Config, record: Record | None) -> str:
    """Jobs of every table and their GPU-hours."""
    experiments = read_experiments(EXPERIMENT_TABLE, config)
    tables = sorted({row.table for row in experiments})
    lines = ["| table | searches | trainings | GPU-hours |", "|---|---:|---:|---:|"]
    for title, chosen in [*((str(table), [table]) for table in tables), ("all", tables)]:
        runs = runs_of(experiments, chosen, config.seeds, evaluated_only=True)
        searches = sorted({(run.subnetwork, run.seed) for run in runs if _searched(config, run.subnetwork)})
        total = "" if record is None else f"{_total(config, record, runs, [name for name, _ in searches]):.0f}"
        lines.append(f"| {title} | {len(searches)} | {len(runs)} | {total} |")
    return "\n".join(lines) + "\n"


def _searched(config: Config, name: str) -> bool:
    return config.subnetworks[name].method in SEARCHING


def _total(config: Config, record: Record, runs: list[RunId], searches: list[str]) -> float:
    """GPU-hours of searches, trainings and evaluations together."""
    seconds = sum(
        search_iterations(config, name) * _cost(record["search"], record["search"]["gpus"]) for name in searches
    )

    images = sum(DOWNLOADS[name].counts["val"][0] for name in config.benchmarks)
    for run in runs:
        measured = record["targets"][run.target]
        state = measured[_choose_state(config, run)]
        recipe, iterations = config.subnetworks[run.subnetwork], config.targets[run.target].training.iterations
        if recipe.method == "joint":
            iterations = count_pruning_steps(recipe)
        seconds += iterations * _cost(state, measured["gpus"])
        seconds += images * measured["evaluation"]["seconds"]
    return seconds / 3600


def _choose_state(config: Config, run: RunId) -> str:
    """Which of the measured training steps a run takes."""
    if _searched(config, run.subnetwork):
        return "subnetwork"
    return "dense" if config.freezing[run.freeze].method == "none" else "frozen"


def _cost(measured: Record, gpus: int) -> float:
    return float(measured["seconds"]) * gpus


def search_iterations(config: Config, name: str) -> int:
    """Iterations of a search: t for every round, and the recovery."""
    return count_pruning_steps(config.subnetworks[name])
