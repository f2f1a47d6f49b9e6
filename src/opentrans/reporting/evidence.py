"""What a table row or a claim is made from: measured values and the paper's, looked up by experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from opentrans.runs.paper import PaperRow
from opentrans.runs.table import Experiment


@dataclass(frozen=True)
class Evidence:
    """Measured values, the paper's, and the seeds that count.

    `results` as `collect_results` makes them; `measures` by metric: target, subnetwork, freeze, seed, value; `paper`
    the rows of the paper's tables by id.
    """

    results: pd.DataFrame
    measures: Mapping[str, pd.DataFrame]
    paper: Mapping[str, PaperRow]
    seeds: Sequence[int]

    def measure(self, row: Experiment, metrics: Sequence[str]) -> pd.DataFrame:
        """The measured values of a row by metric and seed: columns metric, seed, value.

        Args:
            row: whose runs are looked up.
            metrics: benchmarks, for mIoU on them in percent, or a key of `measures` alone.
        """
        (measure,) = metrics if len(metrics) == 1 else ("",)
        if measure in self.measures:
            found = self.measures[measure].assign(metric=measure)
        else:
            chosen = self.results["benchmark"].isin(metrics)
            found = self.results[chosen].rename(columns={"benchmark": "metric", "miou": "value"})

        same = [found[name] == getattr(row, name) for name in ("target", "subnetwork", "freeze")]
        wanted = same[0] & same[1] & same[2] & found["seed"].isin(self.seeds)
        values: pd.DataFrame = found.loc[wanted, ["metric", "seed", "value"]]
        return values

    def quote(self, row: Experiment | PaperRow, metric: str) -> float | None:
        """What the paper reports for a row, in the unit that it prints; None where it reports nothing."""
        paper = self.paper.get(row.id)
        return None if paper is None else paper.values.get(metric)
