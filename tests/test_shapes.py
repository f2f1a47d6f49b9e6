"""Shapes and types are checked in the tests: shape_check.py."""

import random

import pytest
import torch
from jaxtyping import TypeCheckError

from opentrans.distillation import DistillationLoss, tgkd
from opentrans.models.tiles import list_candidates


def test_shapes_that_do_not_fit_are_an_error():
    with pytest.raises(TypeCheckError, match="'regions'"):
        tgkd(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 3))


def test_an_element_type_that_does_not_fit_is_an_error():
    with pytest.raises(TypeCheckError, match="'candidates'"):
        list_candidates(torch.ones(2, 3))


def test_checking_leaves_pythons_random_state_alone():
    before = random.getstate()
    with pytest.raises(TypeCheckError, match="'per_image'"):
        DistillationLoss("tgkd")([(torch.zeros(2, 3), None, None)] * 5)
    assert random.getstate() == before
