"""The mIoU of every model in the two forms that DVC compares between commits: nested metrics and a plot's rows."""

from typing import Any

import pandas as pd

from opentrans.reporting.results import DECIMALS
from opentrans.reporting.tidy import RUN_KEYS

_MODEL = RUN_KEYS[:-1]  # without the seed
PLOT_FIELDS = ["model_benchmark", "miou"]


def average_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """MIoU in percent of each target, subnetwork and freeze recipe by benchmark, the mean over seeds."""
    means = results.groupby([*_MODEL, "benchmark"], sort=False)["miou"].mean().round(DECIMALS)
    return means.reset_index()


def nest_metrics(results: pd.DataFrame) -> dict[str, Any]:
    """``miou.{target}.{subnetwork}.{freeze}.{benchmark}`` in percent, and ``mean`` over the benchmarks beside them."""
    nested: dict[str, Any] = {}
    for model, rows in average_seeds(results).groupby(_MODEL, sort=True):
        branch = nested
        for name in map(str, model):
            branch = branch.setdefault(name, {})
        branch |= dict(zip(rows.benchmark, rows.miou.astype(float), strict=True))
        branch["mean"] = round(float(rows.miou.mean()), DECIMALS)
    return {"miou": nested}


def list_plot_rows(results: pd.DataFrame) -> list[dict[str, object]]:
    """One bar each model and benchmark: its label and its mIoU in percent."""
    rows = average_seeds(results).itertuples(index=False)
    return [
        dict(zip(PLOT_FIELDS, (f"{row.target}/{row.subnetwork}/{row.freeze} {row.benchmark}", row.miou), strict=True))
        for row in rows
    ]
