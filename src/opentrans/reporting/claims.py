"""The paper's claims, each judged from this run: effect, spread over seeds, a paired test, a verdict.

A claim compares rows of the paper's tables (``TABLE:ROW``), which the experiment table turns into runs and the
paper's values into the paper's own evidence. Several lines of the claims table may belong to one claim.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy.stats import wilcoxon

from opentrans.errors import UserError
from opentrans.runs.table import Experiment
from opentrans.system.files import read_csv

FIELDS = ("claim", "text", "left", "right", "metric", "benchmarks", "relation")
RELATIONS = ("greater everywhere", "greater", "not less", "less", "stable")
COUNTED = ("params", "flops", "training_flops", "training_iterations")  # exact: one sign in every pair decides
UNITS = {"miou": "points of mIoU", "cka_vs_clip": "CKA", "alpha_change": "percent"}
STABLE = 10.0  # percent
SIGNIFICANCE = 0.05
HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
REMEDY = "config/README.md describes the columns of the claims table"
RULE = f"""A pair is one target, benchmark and seed; its effect is left minus right (for counts: the change in percent).
Test: one-sided Wilcoxon signed-rank over all pairs, level {SIGNIFICANCE}. Pairs of one run share its training,
so with few seeds p is optimistic. Verdicts: "greater" holds if the mean effect is positive and significant,
does not hold if it is negative and significant, else it is not decided; "not less" holds if the mean effect is
not negative, does not hold if it is negative and significant; "greater everywhere" also needs a positive mean
over seeds for each target and benchmark, and does not hold where one is missing; "stable": the median of alpha
over the layers changes by at most {STABLE:.0f}% from the first to the last iteration, in every run and seed;
counts (parameters, FLOPs, iterations) are exact and need no test."""


@dataclass(frozen=True)
class Comparison:
    """One line: two table rows to compare by one metric."""

    left: Experiment
    right: Experiment
    metric: str
    benchmarks: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """A claim and the comparisons that bear on it."""

    name: str
    text: str
    relation: str
    comparisons: tuple[Comparison, ...]

    @property
    def metric(self) -> str:
        """What is compared."""
        return self.comparisons[0].metric


@dataclass(frozen=True)
class Evidence:
    """Where numbers are looked up: results and measures of this run, the paper's values, the seeds."""

    results: pd.DataFrame
    measures: Mapping[str, pd.DataFrame]
    paper: pd.DataFrame
    seeds: Sequence[int]


def read_claims(path: Path, experiments: Sequence[Experiment]) -> list[Claim]:
    """Read the claims table; a row that the experiments lack or an unknown relation is a `UserError`."""
    known = {f"{row.table}:{row.row}": row for row in experiments}
    claims: dict[str, Claim] = {}
    for number, line in enumerate(read_csv(path, FIELDS, REMEDY), start=2):
        where = f"{path}: line {number}"
        _require(line["relation"], RELATIONS, f"{where}, column relation")
        for side in ("left", "right"):
            _require(line[side], known, f"{where}, column {side}")
        _require(line["metric"], (*UNITS, *COUNTED), f"{where}, column metric")
        comparison = _compare(known[line["left"]], known[line["right"]], line["metric"], line["benchmarks"])
        first = claims.get(line["claim"], Claim(line["claim"], line["text"], line["relation"], ()))
        if first.comparisons and (first.relation, first.metric) != (line["relation"], line["metric"]):
            raise UserError(f"{where}, column claim", "relation or metric differ from the claim's first line", REMEDY)
        claims[first.name] = Claim(first.name, first.text, first.relation, (*first.comparisons, comparison))
    return list(claims.values())


def _require(value: str, known: Collection[str], where: str) -> None:
    if value not in known:
        raise UserError(where, f"{value!r} is unknown", REMEDY)


def _compare(left: Experiment, right: Experiment, metric: str, benchmarks: str) -> Comparison:
    shared = tuple(name for name in left.benchmarks if name in right.benchmarks)
    named = shared if benchmarks == "all" else tuple(name for name in benchmarks.split() if name in shared)
    return Comparison(left, right, metric, named if metric == "miou" else ())


def find_pairs(claim: Claim, evidence: Evidence) -> pd.DataFrame:
    """The effects of a claim in this run: columns `case` (target and benchmark), `seed`, `effect`."""
    frames = [_pairs(comparison, evidence) for comparison in claim.comparisons]
    return pd.concat(frames, ignore_index=True)


def _pairs(comparison: Comparison, evidence: Evidence) -> pd.DataFrame:
    sides = [_look_up(row, comparison, evidence) for row in (comparison.left, comparison.right)]
    if comparison.metric == "alpha_change":  # a change already: there is nothing to compare it with
        return sides[0].rename(columns={"value": "effect"}).assign(case=comparison.left.row)
    joined = sides[0].merge(sides[1], on=["benchmark", "seed"], suffixes=("_left", "_right"))
    case = f"{comparison.left.target} {comparison.left.row} {comparison.right.row} " + joined["benchmark"]
    effect = _effect(joined["value_left"], joined["value_right"], comparison.metric)
    return pd.DataFrame({"case": case, "seed": joined["seed"], "effect": effect})


def _effect(left: pd.Series, right: pd.Series, metric: str) -> pd.Series:
    return 100 * (left / right - 1) if metric in COUNTED else left - right


def _look_up(row: Experiment, comparison: Comparison, evidence: Evidence) -> pd.DataFrame:
    """This run's values of a table row: benchmark, seed, value."""
    frame = evidence.results if comparison.metric == "miou" else evidence.measures.get(comparison.metric)
    if frame is None or frame.empty:
        return pd.DataFrame({"benchmark": [], "seed": [], "value": []}).astype({"benchmark": str})
    run = (frame["target"] == row.target) & (frame["subnetwork"] == row.subnetwork) & (frame["freeze"] == row.freeze)
    found = frame[run & frame["seed"].isin(evidence.seeds)]
    if comparison.metric == "miou":
        found = found[found["benchmark"].isin(comparison.benchmarks)].assign(value=lambda part: part["miou"])
    else:
        found = found.assign(benchmark="")
    return found[["benchmark", "seed", "value"]]


def find_paper_effects(claim: Claim, paper: pd.DataFrame) -> pd.Series:
    """The paper's own effects, one for each comparison and benchmark that it reports for both rows."""
    effects: list[float] = []
    for comparison in claim.comparisons:
        metrics = comparison.benchmarks if comparison.metric == "miou" else (comparison.metric,)
        sides = [_paper_values(row, metrics, paper) for row in (comparison.left, comparison.right)]
        effects.extend(_effect(sides[0], sides[1], comparison.metric).dropna())
    return pd.Series(effects, dtype=float)


def _paper_values(row: Experiment, metrics: Sequence[str], paper: pd.DataFrame) -> pd.Series:
    same = (paper["table"] == row.table) & (paper["row"] == row.row) & paper["metric"].isin(metrics)
    values: pd.Series = paper[same].set_index("metric")["value"]
    return values


def judge(claim: Claim, pairs: pd.DataFrame) -> tuple[str, float]:
    """The verdict by `RULE` and the p-value behind it (nan where nothing is tested)."""
    effects = pairs["effect"].dropna()
    if effects.empty:
        return OPEN, math.nan
    if claim.relation == "stable":
        return (HOLDS if effects.abs().max() <= STABLE else FAILS), math.nan
    sign = -1 if claim.relation == "less" else 1
    if claim.metric in COUNTED:
        good = (sign * effects > 0).all() or (claim.relation == "not less" and (effects >= 0).all())
        return (HOLDS if good else FAILS), math.nan
    mean = sign * float(effects.mean())
    p = _test(sign * effects if mean >= 0 else -sign * effects)
    if mean < 0:
        return (FAILS if p < SIGNIFICANCE else OPEN), p
    if claim.relation == "not less":
        return HOLDS, p
    if claim.relation == "greater everywhere" and not (pairs.groupby("case")["effect"].mean() > 0).all():
        return FAILS, p
    return (HOLDS if p < SIGNIFICANCE else OPEN), p


def _test(effects: pd.Series) -> float:
    """P of a one-sided Wilcoxon signed-rank test that the effects are above zero; 1 where all are zero."""
    return float(wilcoxon(effects, alternative="greater").pvalue) if (effects != 0).any() else 1.0


def judge_claims(claims: Sequence[Claim], evidence: Evidence) -> pd.DataFrame:
    """One row a claim: the paper's evidence, this run's evidence, the verdict. Cells are text."""
    return pd.DataFrame([_describe(claim, evidence) for claim in claims])


def _describe(claim: Claim, evidence: Evidence) -> dict[str, str]:
    pairs, paper = find_pairs(claim, evidence), find_paper_effects(claim, evidence.paper)
    verdict, p = judge(claim, pairs)
    by_seed = pairs.groupby("seed")["effect"].mean()
    unit = "percent" if claim.metric in COUNTED else UNITS[claim.metric]
    return {
        "claim": claim.name,
        "text": claim.text,
        "relation": claim.relation,
        "unit": unit,
        "paper effect": _number(paper.mean()),
        "paper pairs": _count(paper, claim),
        "effect": _number(pairs["effect"].mean()),
        "spread over seeds": _number(by_seed.std()).removeprefix("+"),
        "pairs": _count(pairs["effect"], claim),
        "seeds": str(len(by_seed)),
        "p": "" if math.isnan(p) else f"{p:.2g}",
        "verdict": verdict,
    }


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3g}"


def _count(effects: pd.Series, claim: Claim) -> str:
    """In how many pairs the claimed relation is seen."""
    known = effects.dropna()
    seen = {"less": known < 0, "not less": known >= 0, "stable": known.abs() <= STABLE}
    return f"{int(seen.get(claim.relation, known > 0).sum())} of {len(known)}" if len(known) else ""
