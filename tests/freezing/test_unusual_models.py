"""Plans of models whose weights have several names, or no usable values."""

import math

import pytest
import torch
from torch import nn

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.apply import apply_freeze_plan
from opentrans.freezing.planning import plan_model


def make_tied():
    model = nn.ModuleDict({name: nn.Linear(32, 32, bias=False) for name in "abc"})
    model["c"].weight = model["a"].weight
    return model


@pytest.mark.parametrize("seed", range(6))
def test_a_tied_weight_is_one_row_and_what_is_reported_as_frozen_is_frozen(seed):
    model = make_tied()
    plan = plan_model(model, FreezeRecipe(method="random", ratio=0.5), seed)
    assert [row.layer for row in plan.rows] == ["a.weight", "b.weight"]
    frozen = apply_freeze_plan(model, plan)
    assert len(frozen) == 1
    assert not any(model.get_parameter(name).requires_grad for name in frozen)


def test_a_module_with_two_names_is_one_row():
    layer = nn.Linear(32, 32)
    plan = plan_model(nn.Sequential(layer, nn.ReLU(), layer), FreezeRecipe(method="random", ratio=0.5))
    assert [row.layer for row in plan.rows] == ["0.weight"]


@pytest.mark.parametrize("estimator", ["weightwatcher", "released"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_with_the_layers_name(estimator, value):
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3))
    model[1].weight.data[0, 0, 0, 0] = value
    recipe = FreezeRecipe(method="alpha", ratio=0.5, estimator=estimator)
    with pytest.raises(UserError, match=r"1\.weight.*1 of its weights"):
        plan_model(model, recipe)


def test_weights_on_the_meta_device_are_refused():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 32, 3))
    with pytest.raises(UserError, match=r"0\.weight.*meta device"):
        plan_model(model, FreezeRecipe(method="alpha", ratio=0.5))
