"""One tidy table of everything measured: a row for each run x seed x benchmark."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from opentrans.errors import UserError
from opentrans.evaluation.miou import DENOMINATORS
from opentrans.reporting.tidy import RUN_KEYS, read_frame, read_run_values
from opentrans.system.files import read_json, write_text

_KEYS = [*RUN_KEYS, "benchmark"]
RESULT_FIELDS = [*_KEYS, "denominator", "miou", "miou_present", "miou_union", "images", "prompts"]
_COST_METRICS = ("params", "flops", "training_flops")
_CKA_METRICS = ("cka_vs_clip",)
DECIMALS = 4
_EVALUATE_AGAIN = "evaluate this run again"


def read_results(path: Path) -> pd.DataFrame:
    """Read ``results.csv``; a missing column is a `UserError`."""
    return read_frame(path, RESULT_FIELDS, "collect the results again")


def collect_results(evaluations: Iterable[Path]) -> pd.DataFrame:
    """Gather evaluation files; `miou` (percent) follows the file's own denominator.

    Raises:
        UserError: a file lacks a field, or two files hold the same run x seed x benchmark.
    """
    rows: list[dict[str, Any]] = []
    origin: dict[tuple[Any, ...], Path] = {}

    for path in evaluations:
        row = _read_evaluation(path)
        key = tuple(row[name] for name in _KEYS)
        if key in origin:
            raise UserError(path, f"the same run and benchmark as {origin[key]}", "give each evaluation once")
        origin[key] = path
        rows.append(row)

    return pd.DataFrame(rows, columns=pd.Index(RESULT_FIELDS)).sort_values(_KEYS, ignore_index=True)


def _read_evaluation(path: Path) -> dict[str, Any]:
    content = read_json(path, _EVALUATE_AGAIN)
    try:
        protocol, miou = content["protocol"], content["miou"]
        row = {name: content[name] for name in [*_KEYS, "images"]}
        row |= {f"miou_{name}": miou[name] for name in DENOMINATORS}

        return row | {
            "denominator": protocol["denominator"],
            "prompts": protocol["prompts"],
            "miou": miou[protocol["denominator"]],
        }
    except (KeyError, TypeError) as error:
        raise UserError(path, f"field {error} is missing", _EVALUATE_AGAIN) from None


def write_results(path: Path, results: pd.DataFrame) -> None:
    """Write CSV with a fixed number of decimals."""
    write_text(path, results.to_csv(index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n"))


Measures = dict[str, pd.DataFrame]


def read_measures(costs: Iterable[Path], comparisons: Iterable[Path]) -> Measures:
    """What `count-costs` and `compare-backbones` wrote: for each metric one row a run and seed.

    Raises:
        UserError: a file lacks a field.
    """
    counted = read_run_values(costs, _COST_METRICS, "count the costs again")
    compared = read_run_values(comparisons, _CKA_METRICS, "compare the backbones again")
    return _split(counted, _COST_METRICS) | _split(compared, _CKA_METRICS)


def _split(frame: pd.DataFrame, metrics: Sequence[str]) -> Measures:
    return {metric: frame[RUN_KEYS].assign(value=frame[metric]) for metric in metrics}


def compute_medians(alphas: pd.DataFrame) -> pd.DataFrame:
    """The median of alpha over the layers of each run and iteration, in a column `alpha`."""
    medians = alphas.dropna(subset="alpha").groupby([*RUN_KEYS, "iteration"], sort=False)["alpha"].median()
    return medians.reset_index()


def measure_alpha_change(alphas: pd.DataFrame) -> pd.DataFrame:
    """Change of the median alpha from first to last traced iteration, in percent, by run."""
    ordered = compute_medians(alphas).sort_values("iteration").groupby(RUN_KEYS)["alpha"]
    return (100 * (ordered.last() / ordered.first() - 1)).reset_index(name="value")


def count_iterations(rounds: pd.DataFrame, logs: pd.DataFrame) -> pd.DataFrame:
    """Iterations of search and training together, by run, from `read_rounds` and `read_logs`."""
    searched = rounds.groupby(["subnetwork", "seed"])["iterations"].max()
    trained = logs.groupby(RUN_KEYS)["iteration"].max().reset_index(name="trained")
    total = trained.join(searched, on=["subnetwork", "seed"])
    return trained[RUN_KEYS].assign(value=total["trained"] + total["iterations"])


def describe_pruning(rounds: pd.DataFrame, logs: pd.DataFrame) -> Measures:
    """Rounds of pruning and the density that they led to, by run, from `read_rounds` and `read_logs`.

    Of a target that was pruned while it trained its own log tells them; of any other run its subnetwork's.
    """
    pruned = rounds.groupby(["subnetwork", "seed"])["density"]
    searched = pd.DataFrame({"rounds": pruned.apply(_count_rounds), "density": pruned.last()})
    runs = logs[RUN_KEYS].drop_duplicates().join(searched, on=["subnetwork", "seed"])

    if "density" in logs:
        joint = logs.dropna(subset="density").groupby(RUN_KEYS)["density"]
        own = pd.DataFrame({"rounds": joint.apply(_count_rounds), "density": joint.last()})
        runs = runs.set_index(RUN_KEYS)
        runs.update(own)
        runs = runs.reset_index()
    return _split(runs, ("rounds", "density"))


def _count_rounds(densities: pd.Series) -> int:
    """How many times it fell: a round has one density."""
    return int(densities[densities < 1].nunique())
