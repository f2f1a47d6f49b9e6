import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opentrans.pruning.magnitude import count_remaining, plan_rounds, prune_smallest, random_masks
from opentrans.pruning.masks import count_kept

SHAPES = {"a": (4, 3, 3, 3), "b": (5, 4, 1, 1)}


def all_true(weights):
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def as_weight(values):
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_rounds_that_prune_first_end_before_the_density_is_passed():
    total = 23_454_912
    rounds = plan_rounds(total, 0.1, 0.1, "prune_first")
    # As the released masks: the last one is the 21st, of 10.9%.
    assert len(rounds) == 21
    assert rounds[-1] / total == pytest.approx(0.9**21, abs=1e-6)
    assert rounds == plan_rounds(total, 0.1, 0.1, "train_first")[:-1]
    # Where the shares fit, both orders end at the same density; where no whole round does, one is clipped.
    assert plan_rounds(64, 0.5, 0.25, "prune_first") == plan_rounds(64, 0.5, 0.25, "train_first") == [32, 16]
    assert plan_rounds(100, 0.9, 0.5, "prune_first") == [50]


def test_training_first_needs_22_rounds_and_only_the_last_is_clipped():
    total = 23_454_912
    rounds = plan_rounds(total, 0.1, 0.1, "train_first")
    assert len(rounds) == 22
    assert rounds[-1] == math.ceil(total / 10)
    before = total
    for kept in rounds[:-1]:
        assert before - kept == before // 10
        before = kept
    assert 0.1 < rounds[-2] / total < 0.111


def test_shares_are_decimals_not_binary_fractions():
    assert count_remaining(30, 0.1) == 3  # as binary floats 0.1 * 30 > 3
    assert plan_rounds(100, 0.29, 0.71) == [71]  # as binary floats 0.29 * 100 < 29
    assert count_remaining(7, 0.5) == 4


def test_a_density_of_one_needs_no_round():
    assert plan_rounds(100, 0.1, 1.0) == []


def test_a_round_removes_at_least_one_weight():
    assert plan_rounds(5, 0.1, 0.2) == [4, 3, 2, 1]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 5000), st.integers(1, 100), st.integers(1, 100))
def test_rounds_fall_strictly_to_exactly_the_target(total, share, density):
    rounds = [total, *plan_rounds(total, share / 100, density / 100, "train_first")]
    assert rounds[-1] == math.ceil(Fraction(density, 100) * total)
    assert all(later < earlier for earlier, later in itertools.pairwise(rounds))


def test_the_smallest_go_across_all_layers_by_absolute_value():
    weights = {"a": as_weight([0.5, -0.1, 3.0]), "b": as_weight([-0.2, 0.4, -4.0])}
    found = prune_smallest(weights, all_true(weights), 3)
    assert found["a"].flatten().tolist() == [True, False, True]
    assert found["b"].flatten().tolist() == [False, False, True]


def test_weights_already_removed_do_not_count_again():
    weights = {"a": as_weight([0.0, 1.0, 2.0]), "b": as_weight([0.0, 3.0])}
    masks = {"a": as_weight([False, True, True]), "b": as_weight([False, True])}
    found = prune_smallest(weights, masks, 2)
    assert found["a"].flatten().tolist() == [False, False, False]
    assert found["b"].flatten().tolist() == [False, True]
    assert masks["a"].flatten().tolist() == [False, True, True]


def test_ties_fall_by_position():
    weights = {"a": as_weight([1.0, -1.0]), "b": as_weight([1.0, 0.5, -1.0])}
    found = prune_smallest(weights, all_true(weights), 3)
    assert found["a"].flatten().tolist() == [False, False]
    assert found["b"].flatten().tolist() == [True, False, True]


def test_nothing_or_everything_can_be_removed_but_no_more():
    weights = {"a": as_weight([1.0, 2.0])}
    assert count_kept(prune_smallest(weights, all_true(weights), 0)) == 2
    assert count_kept(prune_smallest(weights, all_true(weights), 2)) == 0
    with pytest.raises(ValueError, match="cannot remove 3 of 2"):
        prune_smallest(weights, all_true(weights), 3)


@pytest.mark.parametrize("kept", [0, 1, 37, 128])
def test_a_global_random_mask_keeps_exactly_as_many(kept):
    masks = random_masks(SHAPES, kept, seed=1)
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == SHAPES
    assert count_kept(masks) == kept


def test_a_matched_random_mask_keeps_exactly_as_many_in_each_layer():
    masks = random_masks(SHAPES, {"a": 11, "b": 20}, seed=1)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"a": 11, "b": 20}


def test_a_random_mask_is_decided_by_its_seed():
    first, again, other = (random_masks(SHAPES, 40, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in SHAPES)
    assert any(not torch.equal(first[name], other[name]) for name in SHAPES)


def test_random_places_are_uniform():
    draws = torch.stack([random_masks({"a": (10, 1, 1, 1)}, 3, seed)["a"].flatten() for seed in range(2000)])
    assert draws.double().mean(0).tolist() == pytest.approx([0.3] * 10, abs=0.05)
