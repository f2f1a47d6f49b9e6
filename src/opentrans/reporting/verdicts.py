"""The rule: what the effects of the seeds decide about a claim, and about the claims of a family together.

Everything is said of distances: how far a seed's effect lies on the claim's side of the boundary between what was
claimed and its contrary. So one test serves all relations, the two-sided paired t (a one-sample t of the pairs'
differences). Arrays are (..., seeds); scipy and statsmodels do the arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

Relation = Literal[
    "greater",
    "less",
    "interaction",
    "non-inferior",
    "equivalent",
    "greater in every seed",
    "less in every seed",
]
SIGNIFICANCE = 0.05
CONFIDENCE = 0.95
HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
# Effects that agree to this share of their size are one number, computed several times.
_SAME = 1e-9


@dataclass(frozen=True)
class Hypothesis:
    """What is claimed of an effect; `margin` (in the effect's unit) is 0 where the relation has none."""

    relation: Relation
    margin: float = 0.0

    @property
    def is_tested(self) -> bool:
        """Whether a test decides; counts are compared seed by seed."""
        return not self.relation.endswith("in every seed")

    @property
    def needs_margin(self) -> bool:
        """Whether it is claimed up to a margin."""
        return self.relation in ("non-inferior", "equivalent")

    def measure_distances(self, effects: np.ndarray) -> tuple[np.ndarray, ...]:
        """The distances of `effects` to each boundary, positive on the claim's side; two for ``equivalent``."""
        if self.relation.startswith("less"):
            return (-effects,)
        if self.relation == "non-inferior":
            return (effects + self.margin,)
        if self.relation == "equivalent":
            return effects + self.margin, self.margin - effects
        return (effects,)

    def agrees(self, effect: float) -> bool:
        """Whether an effect lies on the claim's side; on the boundary only where a margin is given."""
        distance = min(float(distance[0]) for distance in self.measure_distances(np.array([effect])))
        return distance >= 0 if self.needs_margin else distance > 0


@dataclass(frozen=True)
class Decision:
    """What one claim's test came to: p, p adjusted by Holm's method, and the level that it was compared with.

    `level` is that of the last step that Holm's method took in the family: a p below it would have been a verdict.
    """

    p: float
    adjusted: float
    level: float
    verdict: str


def find_interval(effects: np.ndarray) -> tuple[float, float] | None:
    """The 95% confidence interval of the mean of (seeds,) effects; None where they do not vary."""
    if effects.size < 2 or not _vary(effects):
        return None
    low, high = stats.ttest_1samp(effects, 0.0).confidence_interval(CONFIDENCE)
    return float(low), float(high)


def _vary(effects: np.ndarray) -> np.ndarray:
    """Whether effects differ over the seeds, (..., seeds) -> (...)."""
    return np.asarray(np.ptp(effects, axis=-1) > _SAME * np.abs(effects).max(axis=-1))


def find_nearest_distances(effects: np.ndarray, hypothesis: Hypothesis) -> np.ndarray:
    """The seeds' distances to the boundary that is nearer to their mean, (..., seeds).

    For ``equivalent`` the t-test of these is Schuirmann's two one-sided tests (1987): of the two, the nearer margin's
    has the larger p.
    """
    first, *others = hypothesis.measure_distances(effects)
    for other in others:
        nearer = other.mean(axis=-1, keepdims=True) < first.mean(axis=-1, keepdims=True)
        first = np.where(nearer, other, first)
    return first


def compute_p(distances: np.ndarray) -> np.ndarray:
    """P of the two-sided t-test that the mean of (..., seeds) distances is 0, (...).

    Where there is one seed, or all seeds give the same number (so they are no independent draws), p is 1.
    """
    if distances.shape[-1] < 2:
        return np.ones(distances.shape[:-1])
    varies = _vary(distances)
    # A spread of zero has no t; the ramp stands in for it and its p is replaced.
    ramp = np.arange(distances.shape[-1], dtype=float)
    return np.where(varies, stats.ttest_1samp(np.where(varies[..., None], distances, ramp), 0.0, axis=-1).pvalue, 1.0)


def judge_family(effects: np.ndarray, hypotheses: Sequence[Hypothesis], size: int) -> list[Decision]:
    """Judge the tested claims of a family together: Holm's method (1979) keeps its false verdicts at 5%.

    Args:
        effects: (claims, seeds), those of the claims that have a value for every seed.
        hypotheses: one for each of them.
        size: number of claims in the family. Those without values count as tested without success, so that a family
            does not get smaller by what failed to run.
    """
    distances = np.stack([find_nearest_distances(row, each) for row, each in zip(effects, hypotheses, strict=True)])
    p = compute_p(distances)
    adjusted = adjust_by_holm(p, size)

    rejected = int((adjusted <= SIGNIFICANCE).sum())
    level = SIGNIFICANCE / max(size - rejected, 1)
    means = distances.mean(axis=-1)
    return [
        Decision(float(p[row]), float(adjusted[row]), level, _choose_verdict(float(adjusted[row]), float(means[row])))
        for row in range(len(hypotheses))
    ]


def adjust_by_holm(p: np.ndarray, size: int) -> np.ndarray:
    """P-values of some claims of a family of `size`, adjusted; the other claims count with a p of 1."""
    padded = np.concatenate([p, np.ones(size - len(p))])
    adjusted: np.ndarray = multipletests(padded, alpha=SIGNIFICANCE, method="holm")[1]
    return adjusted[: len(p)]


def _choose_verdict(adjusted: float, mean_distance: float) -> str:
    if adjusted > SIGNIFICANCE:
        return OPEN
    return HOLDS if mean_distance > 0 else FAILS


def judge_counts(effects: np.ndarray, hypothesis: Hypothesis) -> str:
    """The verdict on (seeds,) effects that need no test: every seed must show what is claimed, or none of them."""
    (distances,) = hypothesis.measure_distances(effects)
    if (distances > 0).all():
        return HOLDS
    return FAILS if (distances <= 0).all() else OPEN
