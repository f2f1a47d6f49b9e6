"""The mIoU of every model in the two forms that DVC compares between commits: nested metrics and a plot's rows."""

from typing import Any

import pandas as pd

from opentrans.reporting.results import DECIMALS

MODEL = ["target", "subnetwork", "freeze"]
PLOT_FIELDS = ["model_benchmark", "miou"]


def average_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """MIoU in percent of each model (columns `MODEL`) and benchmark, the mean over seeds; order of the results."""
    means = results.groupby([*MODEL, "benchmark"], sort=False)["miou"].mean().round(DECIMALS)
    return means.reset_index()


def nest_metrics(results: pd.DataFrame) -> dict[str, Any]:
    """``miou.{target}.{subnetwork}.{freeze}.{benchmark}`` in percent, and ``mean`` over the benchmarks beside them."""
    nested: dict[str, Any] = {}
    for model, rows in average_seeds(results).groupby(MODEL, sort=True):
        place = nested
        for name in map(str, model):
            place = place.setdefault(name, {})
        place |= dict(zip(rows.benchmark, rows.miou.astype(float), strict=True))
        place["mean"] = round(float(rows.miou.mean()), DECIMALS)
    return {"miou": nested}


def list_plot_rows(results: pd.DataFrame) -> list[dict[str, object]]:
    """One bar each model and benchmark: its label and its mIoU in percent."""
    rows = average_seeds(results).itertuples(index=False)
    return [
        dict(zip(PLOT_FIELDS, (f"{row.target}/{row.subnetwork}/{row.freeze} {row.benchmark}", row.miou), strict=True))
        for row in rows
    ]
