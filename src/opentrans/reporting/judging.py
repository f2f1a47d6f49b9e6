"""Every claim beside the paper's evidence and this run's: effect, interval, verdict, what the run could have found."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from opentrans.reporting.cells import Cell, Column, Table, Tally
from opentrans.reporting.claims import COUNTED, Claim
from opentrans.reporting.effects import Effects, find_effects, find_paper_effects
from opentrans.reporting.evidence import Evidence
from opentrans.reporting.power import POWER, find_detectable_effect, find_needed_seeds
from opentrans.reporting.verdicts import (
    CONFIDENCE,
    OPEN,
    SIGNIFICANCE,
    Decision,
    Hypothesis,
    find_interval,
    judge_counts,
    judge_family,
)

RULE = f"""The claims, their benchmarks, margins and families were fixed before the run (`config/claims.csv`).

One seed is one observation. Its effect is the mean over the claim's benchmarks and over its comparisons, which may be
of several targets. Benchmarks and targets never count as repetitions, because those of one seed share a search or a
training. The columns "cases" and "paper cases" describe them: in how many the mean over the seeds, or the paper,
agrees with the claim.

"Effect" is the mean over the seeds; its {CONFIDENCE:.0%} confidence interval reaches from "{CONFIDENCE:.0%} from" to
"to". "p" is that of the paired t-test over the seeds, two-sided. "Adjusted p" is p after Holm's correction for all
claims of the family, which keeps the probability of any false verdict in a family at {SIGNIFICANCE:.0%} or less.

A tested claim gets a verdict where the adjusted p is at most {SIGNIFICANCE} and there are at least two seeds. "Greater"
and "less" hold where the effect is on the claimed side of 0, and do not hold where it is on the other side. An
"interaction" is "greater" said of the difference between two differences. "Non-inferior" holds where the effect is
above minus the margin, "equivalent" where it is between minus and plus the margin (two one-sided tests); p is then that
of the distance to the margin. "In every seed" is said of what is counted and needs no test: all seeds must agree.

A claim for which a value is missing is not judged, but its family stays as large; one about experiments that the
profile leaves out (`skip`) was not planned, and is no member.

For a claim that is not decided, "detectable effect" is the smallest true effect that as many seeds would have found
with a probability of {POWER:.0%} (for "equivalent" the largest), and "seeds needed" is the number of seeds that would
find the paper's effect so (for "equivalent" no effect at all). Both assume the spread over the seeds of this run."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its evidence and verdict; what is unknown, or not asked for, is None.

    `cases` and `paper_cases` count comparisons and benchmarks that agree with the claim. `decision` is None where
    nothing was tested. `note` says why a claim was not judged, or that the paper's effect lies outside of the interval.
    """

    claim: Claim
    effect: float | None
    interval: tuple[float, float] | None
    paper: float | None
    cases: Tally
    paper_cases: Tally
    seeds: int
    decision: Decision | None
    verdict: str
    detectable: float | None
    seeds_needed: int | None
    note: str


def judge_claims(claims: Sequence[Claim], evidence: Evidence, skip: Collection[str] = ()) -> list[JudgedClaim]:
    """All claims, in their order; those of a family are judged together.

    Args:
        claims: those of the claims table.
        evidence: of the run and of the paper.
        skip: ids of the experiments that the profile leaves out. Claims about them are no members of their families.
    """
    effects = {claim.name: find_effects(claim, evidence, skip) for claim in claims}
    decisions: dict[str, Decision] = {}
    for family in dict.fromkeys(claim.family for claim in claims if claim.family):
        members = [claim for claim in claims if claim.family == family and not effects[claim.name].left_out]
        decisions |= _decide(members, effects)
    return [_judge(claim, effects[claim.name], decisions.get(claim.name), evidence) for claim in claims]


def _decide(members: Sequence[Claim], effects: dict[str, Effects]) -> dict[str, Decision]:
    """The decisions on those claims of a family that have a value for each of several seeds."""
    known = [claim for claim in members if effects[claim.name].by_seed.size > 1]
    if not known:
        return {}
    table = np.stack([effects[claim.name].by_seed for claim in known])
    decided = judge_family(table, [claim.hypothesis for claim in known], len(members))
    return {claim.name: decision for claim, decision in zip(known, decided, strict=True)}


def _judge(claim: Claim, effects: Effects, decision: Decision | None, evidence: Evidence) -> JudgedClaim:
    by_seed, hypothesis = effects.by_seed, claim.hypothesis
    paper = find_paper_effects(claim, evidence)
    interval = find_interval(by_seed)
    verdict, note = _conclude(claim, effects, decision, interval)

    # What the run could have found is asked where the seeds varied but decided nothing.
    detectable, seeds_needed = None, None
    if decision is not None and verdict == OPEN and interval is not None:
        spread = float(by_seed.std(ddof=1))
        detectable = find_detectable_effect(spread, by_seed.size, decision.level, hypothesis)
        sought = 0.0 if hypothesis.relation == "equivalent" else paper.mean
        if sought is not None:
            seeds_needed = find_needed_seeds(sought, spread, decision.level, hypothesis)

    if decision is not None and interval is not None and paper.mean is not None:
        low, high = interval
        note = "" if low <= paper.mean <= high else "the paper's effect is outside the interval"

    return JudgedClaim(
        claim=claim,
        effect=float(by_seed.mean()) if by_seed.size else None,
        interval=interval,
        paper=paper.mean,
        cases=_count(effects.cases, hypothesis),
        paper_cases=_count(paper.cases, hypothesis),
        seeds=by_seed.size,
        decision=decision,
        verdict=verdict,
        detectable=detectable,
        seeds_needed=seeds_needed,
        note=note,
    )


def _conclude(
    claim: Claim, effects: Effects, decision: Decision | None, interval: tuple[float, float] | None
) -> tuple[str, str]:
    """The verdict, and where there can be none, why."""
    if effects.missing:
        return OPEN, effects.missing
    if effects.by_seed.size < 2 and claim.metric not in COUNTED:
        return OPEN, "one seed"
    if not claim.hypothesis.is_tested:
        return judge_counts(effects.by_seed, claim.hypothesis), ""
    if decision is None:
        return OPEN, "one seed"
    if interval is None:
        return OPEN, "all seeds give the same number, so they are no independent draws"
    return decision.verdict, ""


def _count(effects: np.ndarray, hypothesis: Hypothesis) -> Tally:
    """In how many cases what is claimed is seen."""
    return Tally(sum(hypothesis.agrees(float(effect)) for effect in effects), len(effects))


def build_claims_table(judged: Sequence[JudgedClaim]) -> Table:
    """A row for each claim: what is claimed, the paper's evidence, this run's evidence, the verdict."""
    intervals = [row.interval or (None, None) for row in judged]
    decisions = [row.decision for row in judged]
    return Table(
        [
            Column("claim", [row.claim.name for row in judged]),
            Column("text", [row.claim.text for row in judged]),
            Column("family", [row.claim.family for row in judged]),
            Column("relation", [row.claim.hypothesis.relation for row in judged]),
            Column("margin", [Cell(row.claim.hypothesis.margin or None) for row in judged], "g"),
            Column("unit", [row.claim.unit for row in judged]),
            Column("paper effect", [Cell(row.paper) for row in judged], "+.3g"),
            Column("effect", [Cell(row.effect) for row in judged], "+.3g"),
            Column(f"{CONFIDENCE:.0%} from", [Cell(low) for low, _ in intervals], "+.3g"),
            Column("to", [Cell(high) for _, high in intervals], "+.3g"),
            Column("p", [Cell(each.p if each else None) for each in decisions], ".2g"),
            Column("adjusted p", [Cell(each.adjusted if each else None) for each in decisions], ".2g"),
            Column("seeds", [Cell(row.seeds) for row in judged], "g"),
            Column("cases", [row.cases for row in judged]),
            Column("paper cases", [row.paper_cases for row in judged]),
            Column("verdict", [row.verdict for row in judged]),
            Column("detectable effect", [Cell(row.detectable) for row in judged], "+.3g"),
            Column("seeds needed", [Cell(row.seeds_needed) for row in judged], ".0f"),
            Column("note", [row.note for row in judged]),
        ]
    )
