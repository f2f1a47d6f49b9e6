import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from opentrans.distillation import (
    DEFAULT_WEIGHTS,
    DISTILLATION_LOSSES,
    DistillationLoss,
    pairwise_distances,
    tgkd,
    tgkd_released,
    tgkd_released_of_batch,
    vgkd,
)


def make_triple(regions: int, dimension: int = 7, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(regions, dimension, generator=generator, dtype=torch.float64) for _ in range(3)]
    return tuple(F.normalize(rows, dim=-1) for rows in draw)


def length(vector: np.ndarray) -> float:
    return math.sqrt(sum(float(x) ** 2 for x in vector))


def dot(left: np.ndarray, right: np.ndarray) -> float:
    return sum(float(a) * float(b) for a, b in zip(left, right, strict=True))


def loop_tgkd(v: np.ndarray, r: np.ndarray, t: np.ndarray) -> float:
    pairs = [(i, j) for i in range(len(v)) for j in range(len(v))]
    return sum(abs(length(v[i] - r[j]) - length(t[i] - t[j])) for i, j in pairs) / len(v)


def loop_vgkd(v: np.ndarray, r: np.ndarray, t: np.ndarray) -> float:
    pairs = [(i, j) for i in range(len(v)) for j in range(len(v))]
    return sum(abs(length(v[i] - r[j]) - length(v[i] - v[j])) for i, j in pairs) / len(v)


def loop_released(v: np.ndarray, r: np.ndarray, t: np.ndarray, gain: float = 1.0) -> float:
    values = [(gain**2 * dot(t[a], t[b]) - dot(v[a], r[b])) ** 2 for a in range(len(v)) for b in range(len(v))]
    values += [length(v[i] - r[i]) ** 2 for i in range(len(v))]
    return sum(values) / len(values)


LOOPS = {"tgkd": loop_tgkd, "vgkd": loop_vgkd, "tgkd_released": loop_released}


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
@pytest.mark.parametrize("regions", [1, 2, 9])
def test_a_loss_equals_the_double_loop_of_its_equation(name, regions):
    triple = make_triple(regions)
    expected = LOOPS[name](*(rows.numpy() for rows in triple))
    assert DISTILLATION_LOSSES[name](*triple).item() == pytest.approx(expected, rel=1e-12)


def test_the_released_variant_squares_its_gain():
    triple = make_triple(4)
    expected = loop_released(*(rows.numpy() for rows in triple), gain=1.7)
    assert tgkd_released(*triple, gain=1.7).item() == pytest.approx(expected, rel=1e-12)


def test_two_regions_by_hand():
    """V = (e1, e2), R = (e1, -e2), T = (e1, e1): all distances are 0, 2 or sqrt 2."""
    e1, e2 = torch.eye(2, dtype=torch.float64)
    student, regions, text = torch.stack([e1, e2]), torch.stack([e1, -e2]), torch.stack([e1, e1])
    root = math.sqrt(2)
    assert tgkd(student, regions, text).item() == pytest.approx((0 + root + root + 2) / 2)  # all ||T_i - T_j|| = 0
    assert vgkd(student, regions, text).item() == pytest.approx((0 + 0 + 0 + 2) / 2)  # ||V_1 - V_2|| = sqrt 2
    # products: 1 - V_a.R_b = (0, 1; 1, 2); own: 0, 4
    assert tgkd_released(student, regions, text).item() == pytest.approx((0 + 1 + 1 + 4 + 0 + 4) / 6)


def test_losses_of_a_student_equal_to_the_teacher_are_the_modality_gap():
    _, regions, text = make_triple(5)
    assert vgkd(regions, regions, text).item() == pytest.approx(0, abs=1e-12)
    assert tgkd(regions, regions, regions).item() == pytest.approx(0, abs=1e-12)
    assert tgkd(regions, regions, text).item() > 0.1


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_the_gradient_is_finite_where_distances_are_zero(name):
    _, regions, text = make_triple(4)
    student = regions.clone().requires_grad_()  # every ||V_i - R_i|| and ||V_i - V_i|| is 0
    DISTILLATION_LOSSES[name](student, regions, text).backward()
    assert student.grad.isfinite().all()


def test_the_gradient_of_a_zero_distance_is_zero_and_else_the_unit_vector():
    left = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    right = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    pairwise_distances(left, right).sum().backward()
    assert left.grad.tolist() == [[pytest.approx(-0.6), pytest.approx(-0.8)]]


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_the_gradient_agrees_with_finite_differences(name):
    student, regions, text = make_triple(4)
    assert torch.autograd.gradcheck(lambda v: DISTILLATION_LOSSES[name](v, regions, text), student.requires_grad_())


@pytest.mark.parametrize("name", ["tgkd", "vgkd"])
def test_a_batch_is_the_mean_over_images_with_regions(name):
    images = [make_triple(3, seed=1), make_triple(0, seed=2), make_triple(5, seed=3)]
    expected = sum(LOOPS[name](*(rows.numpy() for rows in images[i])) for i in (0, 2)) / 2
    assert DistillationLoss(name)(images).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_a_batch_without_regions_is_zero_and_can_be_backpropagated(name):
    student, regions, text = make_triple(0)
    loss = DistillationLoss(name)([(student.requires_grad_(), regions, text)])
    loss.backward()
    assert loss.item() == 0
    assert DistillationLoss(name)([]).item() == 0


def test_the_released_batch_is_one_mean_over_all_pairs_of_its_images():
    images = [make_triple(3, seed=1), make_triple(0, seed=2), make_triple(5, seed=3)]
    values = []
    for student, regions, text in images:
        for a in range(len(student)):
            values += [(dot(text[a], text[b]) - dot(student[a], regions[b])) ** 2 for b in range(len(student))]
            values.append(length(student[a] - regions[a]) ** 2)
    assert len(values) == 9 + 25 + 3 + 5
    assert DistillationLoss("tgkd_released")(images).item() == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_the_released_batch_takes_at_most_so_many_regions():
    images = [make_triple(4, seed=1), make_triple(6, seed=2)]
    whole = tgkd_released_of_batch(images)
    assert torch.equal(tgkd_released_of_batch(images, most_regions=10), whole)
    torch.manual_seed(0)
    some = tgkd_released_of_batch(images, most_regions=1)
    # One region: its own pair and its distance to the teacher.
    single = [tgkd_released(*(part[i : i + 1] for part in image)) for image in images for i in range(len(image[0]))]
    assert any(torch.equal(some, value) for value in single)
    torch.manual_seed(0)
    assert torch.equal(tgkd_released_of_batch(images, most_regions=1), some)


def test_the_default_weights_give_all_kinds_the_same_part_at_the_start():
    # As at the start: students point anywhere, the texts of ten classes lie close together (cosines about 0.8).
    generator = torch.Generator().manual_seed(0)
    student, regions = (F.normalize(torch.randn(10, 512, generator=generator), dim=-1) for _ in range(2))
    text = F.normalize(2 * torch.randn(512, generator=generator) + torch.randn(10, 512, generator=generator), dim=-1)
    parts = {
        name: DEFAULT_WEIGHTS[name] * loss(student, regions, text).item() for name, loss in DISTILLATION_LOSSES.items()
    }
    assert parts["tgkd"] == pytest.approx(parts["tgkd_released"], rel=0.25)


def test_the_gain_is_learned_and_belongs_to_the_released_variant_only():
    loss = DistillationLoss("tgkd_released")
    loss([make_triple(4)]).backward()
    assert dict(loss.named_parameters()).keys() == {"gain"}
    assert loss.gain.item() == 1
    assert loss.gain.grad.abs() > 0
    assert not list(DistillationLoss("tgkd").parameters())
