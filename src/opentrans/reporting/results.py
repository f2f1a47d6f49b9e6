"""One tidy table of everything measured: a row for each run x seed x benchmark."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from opentrans.errors import UserError
from opentrans.evaluation.miou import DENOMINATORS
from opentrans.reporting.tidy import read_figures, read_frame
from opentrans.system.files import read_json, write_text

KEYS = ["target", "subnetwork", "freeze", "seed", "benchmark"]
COLUMNS = [*KEYS, "denominator", "miou", "miou_present", "miou_union", "images", "prompts"]
COST_METRICS = ("params", "flops", "training_flops")
CKA_METRICS = ("cka_vs_clip",)
DECIMALS = 4
EVALUATE_AGAIN = "evaluate this run again"


def read_results(path: Path) -> pd.DataFrame:
    """Read ``results.csv``; a missing column is a `UserError`."""
    return read_frame(path, COLUMNS, "collect the results again")


def collect_results(evaluations: Iterable[Path]) -> pd.DataFrame:
    """Gather evaluation files; `miou` (percent) follows the file's own denominator.

    Raises:
        UserError: a file lacks a field, or two files hold the same run x seed x benchmark.
    """
    rows, origin = [], dict[tuple[Any, ...], Path]()
    for path in evaluations:
        row = _row(path)
        key = tuple(row[name] for name in KEYS)
        if key in origin:
            raise UserError(path, f"the same run and benchmark as {origin[key]}", "give each evaluation once")
        origin[key] = path
        rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS)).sort_values(KEYS, ignore_index=True)


def _row(path: Path) -> dict[str, Any]:
    content = read_json(path, EVALUATE_AGAIN)
    try:
        protocol, miou = content["protocol"], content["miou"]
        row = {name: content[name] for name in [*KEYS, "images"]}
        row |= {f"miou_{name}": miou[name] for name in DENOMINATORS}
        return row | {
            "denominator": protocol["denominator"],
            "prompts": protocol["prompts"],
            "miou": miou[protocol["denominator"]],
        }
    except (KeyError, TypeError) as error:
        raise UserError(path, f"field {error} is missing", EVALUATE_AGAIN) from None


def write_results(path: Path, results: pd.DataFrame) -> None:
    """Write CSV with a fixed number of decimals."""
    write_text(path, results.to_csv(index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n"))


Measures = dict[str, pd.DataFrame]


def collect_measures(metrics: Sequence[str], paths: Iterable[Path], remedy: str) -> Measures:
    """Figures of runs from JSON files (`count-costs`, `compare-backbones`): a frame a metric, a row a run x seed.

    Raises:
        UserError: a file lacks a field.
    """
    frame = read_figures(paths, metrics, remedy)
    return {metric: frame[KEYS[:-1]].assign(value=frame[metric]) for metric in metrics}


def measure_alpha_change(medians: pd.DataFrame) -> pd.DataFrame:
    """Change of the median alpha (`compute_medians`) from first to last traced iteration, in percent, by run."""
    ordered = medians.sort_values("iteration").groupby(KEYS[:-1])["alpha"]
    return (100 * (ordered.last() / ordered.first() - 1)).reset_index(name="value")


def count_iterations(rounds: pd.DataFrame, logs: pd.DataFrame) -> pd.DataFrame:
    """Iterations of search and training together, by run, from `read_rounds` and `read_logs`."""
    searched = rounds.groupby(["subnetwork", "seed"])["iterations"].max()
    trained = logs.groupby(KEYS[:-1])["iteration"].max().reset_index(name="trained")
    total = trained.join(searched, on=["subnetwork", "seed"])
    return trained[KEYS[:-1]].assign(value=total["trained"] + total["iterations"])
