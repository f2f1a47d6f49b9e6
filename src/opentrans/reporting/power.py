"""What a run could have found: the power of a claim's test, the smallest effect, the seeds that an effect needs.

Power is the probability of the verdict "holds", so it counts one side of the two-sided test.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from statsmodels.stats.power import TTestPower

from opentrans.reporting.verdicts import Hypothesis

POWER = 0.8
# No study is planned beyond.
_MOST_SEEDS = 100_000


def compute_power(effect: float, spread: float, seeds: int, level: float, hypothesis: Hypothesis) -> float:
    """The probability of "holds" where the true effect is `effect`.

    For ``equivalent`` both margins must be kept; the value is then a lower bound, close where power is high.

    Args:
        effect: mean over all seeds that might be drawn.
        spread: standard deviation of the seeds' effects, above 0.
        seeds: their number, at least 2.
        level: of the two-sided test.
        hypothesis: what is claimed.
    """
    distances = hypothesis.measure_distances(np.array([effect]))
    one_sided = [
        float(TTestPower().power(float(distance[0]) / spread, seeds, level / 2, alternative="larger"))
        for distance in distances
    ]
    return max(0.0, 1.0 - sum(1.0 - power for power in one_sided))


def find_detectable_effect(spread: float, seeds: int, level: float, hypothesis: Hypothesis) -> float | None:
    """The smallest effect for which "holds" has a probability of 80%.

    For ``non-inferior`` the least effect, which may be negative; for ``equivalent`` the largest deviation from 0, or
    None where not even an effect of exactly 0 would be found.
    """

    def miss(effect: float) -> float:
        return compute_power(effect, spread, seeds, level, hypothesis) - POWER

    if hypothesis.relation == "equivalent":
        return _find_root(miss, 0.0, hypothesis.margin) if miss(0.0) >= 0 else None

    sign = -1.0 if hypothesis.relation == "less" else 1.0
    boundary = -hypothesis.margin
    reach = spread
    while miss(sign * (boundary + reach)) < 0:
        reach *= 2
    return sign * _find_root(lambda effect: miss(sign * effect), boundary, boundary + reach)


def _find_root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high))


def find_needed_seeds(effect: float, spread: float, level: float, hypothesis: Hypothesis) -> int | None:
    """How many seeds give "holds" a probability of 80%, were the true effect `effect`.

    None where the effect contradicts the claim, or no feasible number would do.
    """
    if not hypothesis.agrees(effect):
        return None

    def suffices(seeds: int) -> bool:
        return compute_power(effect, spread, seeds, level, hypothesis) >= POWER

    enough = 2
    while not suffices(enough):
        enough *= 2
        if enough > _MOST_SEEDS:
            return None

    # Power grows with the seeds: the least number lies between the last two.
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if suffices(middle):
            enough = middle
        else:
            too_few = middle
    return enough
