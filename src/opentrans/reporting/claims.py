"""The paper's claims, each judged from this run: effect, spread over seeds, a paired test, a verdict.

A claim compares rows of the experiment table, which are looked up by id in this run's results and in the paper's
values. Several lines of the claims table may belong to one claim.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from scipy.stats import wilcoxon

from opentrans.errors import UserError
from opentrans.reporting.cells import Cell, Column, Table, Tally
from opentrans.reporting.evidence import Evidence
from opentrans.runs.table import Experiment
from opentrans.system.files import read_csv

CLAIM_FIELDS = ("claim", "text", "left", "right", "metric", "benchmarks", "relation")
_RELATIONS = ("greater everywhere", "greater", "not less", "less", "stable")
_COUNTED = ("params", "flops", "training_flops", "training_iterations")  # exact: one sign in every pair decides
# What an effect is measured in.
_UNITS = {"miou": "points of mIoU", "cka_vs_clip": "CKA", "alpha_change": "percent"}
_UNITS |= dict.fromkeys(_COUNTED, "percent")
STABLE = 10.0  # percent
SIGNIFICANCE = 0.05
HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
_REMEDY = "config/README.md describes the columns of the claims table"
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
    """One line: two table rows to compare by one metric, for mIoU on the benchmarks that both fill."""

    left: Experiment
    right: Experiment
    metric: str
    benchmarks: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Under what the values to compare are looked up: the benchmarks of mIoU, or the metric."""
        return self.benchmarks if self.metric == "miou" else (self.metric,)


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
class JudgedClaim:
    """A claim with its evidence and verdict.

    `effect` is the mean over all pairs, its spread that of the seeds' means, beside the paper's effect; `pairs` and
    `paper_pairs` say in how many pairs the claimed relation is seen; `p` is None where nothing is tested.
    """

    claim: Claim
    effect: Cell
    pairs: Tally
    paper_pairs: Tally
    seeds: int
    p: float | None
    verdict: str


def read_claims(path: Path, experiments: Sequence[Experiment]) -> list[Claim]:
    """Read the claims table.

    Raises:
        UserError: a row that the experiments lack or an unknown relation or metric, by file, line and column.
    """
    known = {row.id: row for row in experiments}
    claims: dict[str, Claim] = {}

    for number, line in enumerate(read_csv(path, CLAIM_FIELDS, _REMEDY), start=2):
        where = f"{path}: line {number}"
        _require(line["relation"], _RELATIONS, f"{where}, column relation")
        _require(line["metric"], _UNITS, f"{where}, column metric")
        comparison = Comparison(
            left=_find_row(line["left"], known, f"{where}, column left"),
            right=_find_row(line["right"], known, f"{where}, column right"),
            metric=line["metric"],
            benchmarks=(),
        )
        comparison = replace(comparison, benchmarks=_choose_benchmarks(comparison, line["benchmarks"]))

        first = claims.get(line["claim"])
        if first is None:
            claims[line["claim"]] = Claim(line["claim"], line["text"], line["relation"], (comparison,))
            continue
        if (first.relation, first.metric) != (line["relation"], line["metric"]):
            raise UserError(f"{where}, column claim", "relation or metric differ from the claim's first line", _REMEDY)
        claims[first.name] = replace(first, comparisons=(*first.comparisons, comparison))

    return list(claims.values())


def _require(value: str, known: Collection[str], where: str) -> None:
    if value not in known:
        raise UserError(where, f"{value!r} is unknown", f"take one of {', '.join(known)}; {_REMEDY}")


def _find_row(key: str, known: Mapping[str, Experiment], where: str) -> Experiment:
    if key not in known:
        raise UserError(where, f"no experiment has the id {key!r}", "take an id of the experiment table")
    return known[key]


def _choose_benchmarks(comparison: Comparison, cell: str) -> tuple[str, ...]:
    """Those named in the cell (``all``: every one) that both rows fill; none where mIoU is not compared."""
    if comparison.metric != "miou":
        return ()
    shared = tuple(name for name in comparison.left.benchmarks if name in comparison.right.benchmarks)
    return shared if cell == "all" else tuple(name for name in cell.split() if name in shared)


def find_pairs(claim: Claim, evidence: Evidence) -> pd.DataFrame:
    """The effects of a claim in this run: columns `case` (rows and benchmark), `seed`, `effect`."""
    frames = [_find_pairs_of(comparison, evidence) for comparison in claim.comparisons]
    return pd.concat(frames, ignore_index=True)


def _find_pairs_of(comparison: Comparison, evidence: Evidence) -> pd.DataFrame:
    left = evidence.measure(comparison.left, comparison.metrics)
    case = f"{comparison.left.id} {comparison.right.id} "

    # A change already: there is nothing to compare it with.
    if comparison.metric == "alpha_change":
        return pd.DataFrame({"case": case, "seed": left["seed"], "effect": left["value"]})

    right = evidence.measure(comparison.right, comparison.metrics)
    joined = left.merge(right, on=["metric", "seed"], suffixes=("_left", "_right"))
    effect = _get_effect(joined["value_left"], joined["value_right"], comparison.metric)
    return pd.DataFrame({"case": case + joined["metric"], "seed": joined["seed"], "effect": effect})


def _get_effect(left: pd.Series, right: pd.Series, metric: str) -> pd.Series:
    """Left minus right; of counts the change in percent."""
    return 100 * (left / right - 1) if metric in _COUNTED else left - right


def find_paper_effects(claim: Claim, evidence: Evidence) -> pd.Series:
    """The paper's own effects, one for each comparison and benchmark that it reports for both rows."""
    effects = []
    for comparison in claim.comparisons:
        left, right = (
            pd.Series([evidence.quote(row, metric) for metric in comparison.metrics], dtype=float)
            for row in (comparison.left, comparison.right)
        )
        effects.append(_get_effect(left, right, comparison.metric).dropna())
    return pd.concat(effects, ignore_index=True)


def judge(claim: Claim, pairs: pd.DataFrame) -> tuple[str, float | None]:
    """The verdict by `RULE` and the p-value behind it (None where nothing is tested)."""
    effects = pairs["effect"].dropna()
    if effects.empty:
        return OPEN, None
    if claim.relation == "stable":
        return (HOLDS if effects.abs().max() <= STABLE else FAILS), None

    sign = -1 if claim.relation == "less" else 1
    if claim.metric in _COUNTED:
        as_claimed = (sign * effects > 0).all() or (claim.relation == "not less" and (effects >= 0).all())
        return (HOLDS if as_claimed else FAILS), None

    # The test is one-sided, in the direction that the mean points to.
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


def judge_claim(claim: Claim, evidence: Evidence) -> JudgedClaim:
    """One claim beside the paper's evidence and this run's."""
    pairs, paper = find_pairs(claim, evidence), find_paper_effects(claim, evidence)
    verdict, p = judge(claim, pairs)

    # The spread of the seeds' means, not of single pairs: benchmarks differ more than seeds do.
    by_seed = pairs.groupby("seed")["effect"].mean()
    effect = Cell(
        mean=_get_number(pairs["effect"].mean()),
        std=_get_number(by_seed.std()),
        paper=_get_number(paper.mean()),
        unit=_UNITS[claim.metric],
    )

    return JudgedClaim(
        claim=claim,
        effect=effect,
        pairs=_count(pairs["effect"], claim),
        paper_pairs=_count(paper, claim),
        seeds=len(by_seed),
        p=p,
        verdict=verdict,
    )


def _get_number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _count(effects: pd.Series, claim: Claim) -> Tally:
    """In how many pairs the claimed relation is seen."""
    known = effects.dropna()
    seen = {"less": known < 0, "not less": known >= 0, "stable": known.abs() <= STABLE}
    return Tally(int(seen.get(claim.relation, known > 0).sum()), len(known))


def build_claims_table(judged: Sequence[JudgedClaim]) -> Table:
    """A row for each claim: the paper's evidence, this run's evidence, the verdict."""
    return Table(
        [
            Column("claim", [row.claim.name for row in judged]),
            Column("text", [row.claim.text for row in judged]),
            Column("relation", [row.claim.relation for row in judged]),
            Column("unit", [row.effect.unit for row in judged]),
            Column("paper effect", [Cell(row.effect.paper) for row in judged], "+.3g"),
            Column("paper pairs", [row.paper_pairs for row in judged]),
            Column("effect", [Cell(row.effect.mean) for row in judged], "+.3g"),
            Column("spread over seeds", [Cell(row.effect.std) for row in judged], ".3g"),
            Column("pairs", [row.pairs for row in judged]),
            Column("seeds", [Cell(row.seeds) for row in judged], "g"),
            Column("p", [Cell(row.p) for row in judged], ".2g"),
            Column("verdict", [row.verdict for row in judged]),
        ]
    )
