"""The effects of a claim: one number a seed in this run, one in the paper, and where they point by benchmark."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from opentrans.reporting.claims import ALPHA_METRICS, COUNTED, Claim, Comparison, Contrast
from opentrans.reporting.evidence import Evidence
from opentrans.runs.paper import PaperRow
from opentrans.runs.table import Experiment


@dataclass(frozen=True)
class Effects:
    """What was measured of a claim.

    `by_seed` has one effect a seed: the mean over the benchmarks of a comparison, and over the comparisons; it is
    empty where a value is missing, and `missing` says which. `cases` has the mean over the seeds of each comparison and
    benchmark. A claim is `left_out` where the profile plans no run for one of its rows.
    """

    by_seed: np.ndarray
    cases: np.ndarray
    missing: str = ""
    left_out: bool = False


def find_effects(claim: Claim, evidence: Evidence, skip: Collection[str] = ()) -> Effects:
    """The effects of a claim in this run, whose profile leaves out the experiments `skip`."""
    missing = list(dict.fromkeys(text for line in claim.comparisons for text in _list_missing(line, evidence)))
    if missing:
        # Another row may have had the same runs made, so an id alone does not leave a claim out.
        skipped = [row.id for row in claim.rows if row.id in skip]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        text = f"this profile leaves out {' '.join(skipped)}" if skipped else f"{missing[0]}{more}"
        return Effects(np.empty(0), np.empty(0), text, bool(skipped))

    lines = [_compare(line, evidence) for line in claim.comparisons]
    by_seed = np.mean([line.mean(axis=1).to_numpy() for line in lines], axis=0)
    cases = np.concatenate([line.mean(axis=0).to_numpy() for line in lines])
    return Effects(by_seed, cases)


def _list_missing(line: Comparison, evidence: Evidence) -> list[str]:
    """What a comparison lacks: rows, or single values of rows."""
    contrasts = [line.contrast] if line.minus is None else [line.contrast, line.minus]
    missing = []
    for contrast in contrasts:
        if not contrast.metrics:
            missing.append(f"no benchmark is filled by {contrast.left.id} and {contrast.paper_right}")
        for row in (contrast.left, contrast.right):
            if row is not None:
                missing += _list_missing_of(row, contrast.metrics, evidence)
    return missing


def _list_missing_of(row: Experiment, metrics: Sequence[str], evidence: Evidence) -> list[str]:
    values = _tabulate(row, metrics, evidence)
    if values.isna().all(axis=None):
        return [f"{row.id} has no {' '.join(metrics)}"] if metrics else []
    return [
        f"{row.id} has no {metric} of seed {seed}"
        for seed in values.index
        for metric in metrics
        if pd.isna(values.loc[seed, metric])
    ]


def _tabulate(row: Experiment, metrics: Sequence[str], evidence: Evidence) -> pd.DataFrame:
    """The values of a row: a line for each seed, a column for each metric, nan where there is none."""
    wide = evidence.measure(row, metrics).pivot(index="seed", columns="metric", values="value")
    return wide.reindex(index=list(evidence.seeds), columns=list(metrics)).astype(float)


def _compare(line: Comparison, evidence: Evidence) -> pd.DataFrame:
    """The effects of a comparison, seeds x benchmarks."""
    effects = _subtract(line.contrast, evidence)
    if line.minus is None:
        return effects

    # Benchmark by benchmark where both pairs have the same ones; else the other pair's mean.
    other = _subtract(line.minus, evidence)
    if set(other.columns) == set(effects.columns):
        return effects - other
    return effects.sub(other.mean(axis=1), axis=0)


def _subtract(contrast: Contrast, evidence: Evidence) -> pd.DataFrame:
    left = _tabulate(contrast.left, contrast.metrics, evidence)
    if contrast.right is None:
        return left
    return _get_difference(left, _tabulate(contrast.right, contrast.metrics, evidence), contrast.metric)


def _get_difference(left: pd.DataFrame, right: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Left minus right; of counts the change in percent."""
    return 100 * (left / right - 1) if metric in COUNTED else left - right


@dataclass(frozen=True)
class PaperEffects:
    """The paper's own effect of a claim, None where it prints none, and its effects by comparison and benchmark."""

    mean: float | None
    cases: np.ndarray


def find_paper_effects(claim: Claim, evidence: Evidence) -> PaperEffects:
    """The paper's effect: made as this run's, from the benchmarks for which the paper reports both rows."""
    lines = [_compare_in_paper(line, evidence) for line in claim.comparisons]
    if any(line.empty for line in lines):
        return PaperEffects(None, np.empty(0))
    return PaperEffects(float(np.mean([line.mean() for line in lines])), np.concatenate(lines))


def _compare_in_paper(line: Comparison, evidence: Evidence) -> pd.Series:
    """The paper's effects of a comparison by benchmark; empty where it reports none."""
    effects = _subtract_in_paper(line.contrast, evidence)
    if line.minus is None:
        return effects
    other = _subtract_in_paper(line.minus, evidence)
    if other.empty:
        return other
    if set(other.index) == set(effects.index):
        return effects - other
    return effects - other.mean()


def _subtract_in_paper(contrast: Contrast, evidence: Evidence) -> pd.Series:
    if contrast.metric in ALPHA_METRICS:
        return pd.Series(dtype=float)
    left = _quote(evidence.paper.get(contrast.left.id), contrast)
    right = _quote(evidence.paper.get(contrast.paper_right), contrast)
    return _get_difference(left.to_frame(), right.to_frame(), contrast.metric)[0].dropna()


def _quote(row: PaperRow | None, contrast: Contrast) -> pd.Series:
    values = {} if row is None else row.values
    return pd.Series([values.get(metric) for metric in contrast.metrics], contrast.metrics, dtype=float)
