"""The rule by itself: hand-worked values, other libraries, and its promises by simulation."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from opentrans.reporting.power import POWER, compute_power, find_detectable_effect, find_needed_seeds
from opentrans.reporting.verdicts import (
    FAILS,
    HOLDS,
    OPEN,
    SIGNIFICANCE,
    Hypothesis,
    adjust_by_holm,
    compute_p,
    find_interval,
    find_nearest_distances,
    judge_counts,
    judge_family,
)

GREATER, LESS = Hypothesis("greater"), Hypothesis("less")
NOT_WORSE, SAME = Hypothesis("non-inferior", 1.0), Hypothesis("equivalent", 1.0)
FAMILY = [GREATER, GREATER, GREATER, LESS, Hypothesis("interaction"), NOT_WORSE, NOT_WORSE, SAME]
# True effects for which every verdict is false: no effect, and effects that lie on their margins.
NULL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0, 1.0])
SEEDS, BENCHMARKS, SPREAD = 8, 7, 1.5


@pytest.fixture(autouse=True)
def collect_no_garbage(monkeypatch):
    """Statsmodels does so at every call of `multipletests`, and the simulations call it thousands of times."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def judge_one(effects, hypothesis, size=1):
    return judge_family(np.array([effects], dtype=float), [hypothesis], size)[0]


# mean 2, standard deviation 1, three seeds: t = 2 / (1 / sqrt(3)) = 3.4641.
def test_p_and_interval_are_those_of_a_worked_paired_t_test():
    effects = np.array([1.0, 2.0, 3.0])
    p = 1 - 3.4641016 / math.sqrt(2 + 3.4641016**2)  # two-sided tail of t with 2 degrees of freedom, closed form
    assert judge_one(effects, GREATER).p == pytest.approx(p, rel=1e-6)
    half = 4.302653 / math.sqrt(3)  # 97.5% quantile of the same
    assert find_interval(effects) == pytest.approx((2 - half, 2 + half), rel=1e-6)


@pytest.mark.parametrize(
    ("hypothesis", "mean", "expected"),
    [
        (GREATER, 2.0, HOLDS),
        (GREATER, 0.1, OPEN),
        (GREATER, -2.0, FAILS),
        (Hypothesis("interaction"), 2.0, HOLDS),
        (LESS, -2.0, HOLDS),
        (LESS, 2.0, FAILS),
        (NOT_WORSE, 0.0, HOLDS),
        (NOT_WORSE, -0.5, HOLDS),
        (NOT_WORSE, -1.0, OPEN),
        (NOT_WORSE, -1.5, FAILS),
        (SAME, 0.3, HOLDS),
        (SAME, -0.3, HOLDS),
        (SAME, 0.9, OPEN),
        (SAME, 1.7, FAILS),
        (SAME, -1.7, FAILS),
    ],
)
def test_verdicts_follow_effect_and_margin(hypothesis, mean, expected):
    effects = mean + np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
    assert judge_one(effects, hypothesis).verdict == expected


def test_margins_are_met_where_the_interval_lies_within_them():
    rng = np.random.default_rng(0)
    for effects in rng.normal(rng.uniform(-2, 2, (120, 1)), 0.6, (120, 6)):
        low, high = find_interval(effects)
        assert (judge_one(effects, NOT_WORSE).verdict == HOLDS) == (low > -1)
        assert (judge_one(effects, NOT_WORSE).verdict == FAILS) == (high < -1)
        assert (judge_one(effects, SAME).verdict == HOLDS) == (low > -1 and high < 1)
        assert (judge_one(effects, SAME).verdict == FAILS) == (low > 1 or high < -1)
        assert (judge_one(effects, GREATER).verdict == HOLDS) == (low > 0)


def test_equivalence_is_the_two_one_sided_tests_of_statsmodels():
    rng = np.random.default_rng(1)
    for effects in rng.normal(0.2, 0.5, (20, 5)):
        p, _, _ = DescrStatsW(effects).ttost_mean(-1, 1)
        assert judge_one(effects, SAME).p == pytest.approx(2 * p)


def test_holms_method_is_worked_by_hand_and_unknown_members_count():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert adjust_by_holm(p, 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_by_holm(p, 6) == pytest.approx([0.05, 0.12, 0.12, 0.03])


def test_a_family_moves_the_level_and_a_verdict_needs_the_adjusted_p():
    strong, weak = [5.0, 5.1, 4.9, 5.2], [1.0, 2.0, 0.3, 1.5]
    alone = judge_one(weak, GREATER)
    assert (alone.verdict, alone.level) == (HOLDS, 0.05)
    first, second = judge_family(np.array([strong, weak]), [GREATER, GREATER], 3)
    assert (first.verdict, second.verdict) == (HOLDS, OPEN)
    assert second.adjusted == pytest.approx(2 * alone.p)
    assert second.level == pytest.approx(0.05 / 2)


def test_one_seed_and_seeds_of_one_number_give_no_verdict():
    assert judge_one([9.0], GREATER).verdict == OPEN
    assert judge_one([9.0, 9.0, 9.0], GREATER).verdict == OPEN
    assert judge_one([0.1 + 0.2, 0.3, 0.3], GREATER).verdict == OPEN
    assert find_interval(np.array([9.0])) is None


def test_counts_need_every_seed():
    saved = Hypothesis("less in every seed")
    assert judge_counts(np.array([-1.0, -5.0]), saved) == HOLDS
    assert judge_counts(np.array([0.0, 1.0]), saved) == FAILS
    assert judge_counts(np.array([-1.0, 1.0]), saved) == OPEN
    assert judge_counts(np.array([2.0]), Hypothesis("greater in every seed")) == HOLDS


def draw_families(rng, count, means, correlation, seeds=SEEDS):
    """Effects (families, claims, seeds, benchmarks) whose benchmarks share a part of their noise by seed.

    A third of each claim's variance is shared by all claims of a seed, as they share rows and worlds.
    """
    shape = (count, len(means), seeds, BENCHMARKS)
    everywhere = rng.normal(size=(count, 1, seeds, 1)) * math.sqrt(1 / 3) + rng.normal(
        size=(*shape[:3], 1)
    ) * math.sqrt(2 / 3)
    noise = math.sqrt(correlation) * everywhere + math.sqrt(1 - correlation) * rng.normal(size=shape)
    return np.asarray(means)[None, :, None, None] + SPREAD * noise


def decide_by_the_old_rule(effects):
    """What was done before: all pairs of benchmark and seed in a Wilcoxon test, one-sided where the mean points."""
    pairs = effects.reshape(*effects.shape[:-2], -1)
    pairs = np.where(pairs.mean(axis=-1, keepdims=True) < 0, -pairs, pairs)
    return stats.wilcoxon(pairs, alternative="greater", axis=-1, method="asymptotic").pvalue < SIGNIFICANCE


def count_false_families(families, hypotheses=FAMILY):
    """The share of families with any verdict, where each would be false."""
    verdicts = [judge_family(family, hypotheses, len(hypotheses)) for family in families.mean(axis=-1)]
    return np.mean([any(decision.verdict != OPEN for decision in family) for family in verdicts])


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.8])
def test_false_verdicts_are_at_most_five_percent_of_the_families(correlation):
    families = draw_families(np.random.default_rng(2), 1000, NULL, correlation)
    error = math.sqrt(0.05 * 0.95 / 1000)
    assert count_false_families(families) <= 0.05 + 3 * error


def test_false_verdicts_stay_rare_beside_claims_that_hold():
    """The hard case of Holm's method: true findings make the level of the others less strict."""
    families = draw_families(np.random.default_rng(3), 1000, [9.0, 9.0, 9.0, -9.0, 9.0, -1.0, -1.0, 1.0], 0.6)
    verdicts = [judge_family(family, FAMILY, 8) for family in families.mean(axis=-1)]
    assert np.mean([[each.verdict for each in family[:5]] for family in verdicts] == np.array(HOLDS)) > 0.99
    wrong = np.mean([any(each.verdict != OPEN for each in family[5:]) for family in verdicts])
    assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.05), (0.4, 0.20), (0.8, 0.30)])
def test_the_old_rule_breaks_the_promise_that_the_new_one_keeps(correlation, least):
    """One claim, three seeds of seven benchmarks, no effect: the old rule's false verdicts, far above 5%."""
    claims = draw_families(np.random.default_rng(4), 2000, [0.0], correlation, seeds=3)
    assert decide_by_the_old_rule(claims).mean() > least
    assert count_false_families(claims[:1000], [GREATER]) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(
    ("hypothesis", "effect"), [(GREATER, 1.1), (LESS, -1.1), (NOT_WORSE, -0.1), (SAME, 0.0), (GREATER, 0.6)]
)
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_power_is_the_share_of_simulated_runs_that_find_the_effect(hypothesis, effect, level):
    spread = 0.4 if hypothesis is SAME else 0.8
    runs = np.random.default_rng(5).normal(effect, spread, (4000, SEEDS))
    distances = find_nearest_distances(runs, hypothesis)
    found = np.mean((compute_p(distances) <= level) & (distances.mean(axis=-1) > 0))
    power = compute_power(effect, spread, SEEDS, level, hypothesis)
    assert found == pytest.approx(power, abs=3 * math.sqrt(0.25 / len(runs)))


@pytest.mark.parametrize("hypothesis", [GREATER, LESS, NOT_WORSE, SAME])
def test_the_detectable_effect_has_a_power_of_80_percent(hypothesis):
    effect = find_detectable_effect(0.3, SEEDS, 0.01, hypothesis)
    assert compute_power(effect, 0.3, SEEDS, 0.01, hypothesis) == pytest.approx(POWER)
    assert hypothesis.agrees(effect)


def test_equivalence_within_a_margin_below_the_noise_is_out_of_reach():
    assert find_detectable_effect(5.0, SEEDS, 0.05, SAME) is None


def test_the_needed_seeds_are_the_least_that_reach_80_percent():
    for hypothesis, effect in ((GREATER, 0.7), (LESS, -0.7), (NOT_WORSE, -0.16), (SAME, 0.0), (GREATER, 5.0)):
        seeds = find_needed_seeds(effect, 0.76, 0.05 / 7, hypothesis)
        assert compute_power(effect, 0.76, seeds, 0.05 / 7, hypothesis) >= POWER
        assert seeds == 2 or compute_power(effect, 0.76, seeds - 1, 0.05 / 7, hypothesis) < POWER
    assert find_needed_seeds(-0.1, 0.76, 0.05, GREATER) is None
    assert find_needed_seeds(1e-6, 9.0, 0.05, GREATER) is None


# A textbook value: 34 pairs find half a standard deviation with 80% (Cohen 1988, two-sided 5%).
def test_the_needed_seeds_are_those_of_the_textbook():
    assert find_needed_seeds(0.5, 1.0, 0.05, GREATER) == 34


@pytest.mark.parametrize(
    ("effect", "spread", "size", "seeds"),
    [(5.11, 1.32, 7, 5), (2.51, 2.03, 7, 12), (0.957, 0.75, 7, 12), (0.714, 0.75, 9, 19), (0.55, 3.22, 9, 452)],
)
def test_the_needed_seeds_are_those_that_the_study_was_planned_with(effect, spread, size, seeds):
    """Worked out apart from this code, at the strictest step of Holm's method in a family of `size`."""
    assert find_needed_seeds(effect, spread, SIGNIFICANCE / size, GREATER) == seeds
