import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from builders import ARCHITECTURE
from opentrans.clip.backbone import ClipBackbone, get_convolutions
from opentrans.errors import UserError
from opentrans.freezing.apply import apply_freeze_plan
from opentrans.freezing.plan import FreezePlan, PlannedLayer

FROZEN = ("conv2.weight", "layer1.0.conv2.weight", "layer4.0.downsample.0.weight")


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return ClipBackbone(ARCHITECTURE)


def plan_for(backbone, frozen=FROZEN):
    weights = get_convolutions(backbone)
    rows = (PlannedLayer(n, tuple(w.shape), 2.0, 0.1, 1.0, n in frozen) for n, w in weights.items())
    return FreezePlan(tuple(rows))


def build_optimizer(name, backbone):
    if name == "sgd":
        return torch.optim.SGD(backbone.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
    return torch.optim.AdamW(backbone.parameters(), 0.01, weight_decay=0.1)


def step(backbone, optimizer):
    optimizer.zero_grad(set_to_none=False)
    backward(backbone)
    optimizer.step()


def backward(backbone):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone(images)["res5"].square().mean().backward()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_after_a_warm_up_neither_momentum_nor_decay_moves_a_frozen_layer(backbone, name):
    optimizer = build_optimizer(name, backbone)
    for _ in range(3):
        step(backbone, optimizer)
    apply_freeze_plan(backbone, plan_for(backbone), optimizer=optimizer)
    before = copy.deepcopy(backbone.state_dict())
    for _ in range(3):
        step(backbone, optimizer)
    weights = get_convolutions(backbone)
    moved = {layer for layer, weight in weights.items() if not torch.equal(weight, before[layer])}
    assert moved == weights.keys() - set(FROZEN)
    assert all(weights[layer].grad is None and weights[layer] not in optimizer.state for layer in FROZEN)
    assert not torch.equal(backbone.layer1[0].bn2.weight, before["layer1.0.bn2.weight"])


class CountWeightGradients(TorchDispatchMode):
    """Counts the convolution backward passes, and those that compute a weight gradient."""

    def __init__(self):
        super().__init__()
        self.passes = self.weight_gradients = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution_backward.default:
            self.passes += 1
            self.weight_gradients += args[-1][1]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("frozen", [(), FROZEN])
def test_autograd_computes_no_weight_gradient_for_a_frozen_layer(backbone, frozen):
    apply_freeze_plan(backbone, plan_for(backbone, frozen))
    with CountWeightGradients() as counter:
        backward(backbone)
    assert counter.passes == len(get_convolutions(backbone)) == 19
    assert counter.weight_gradients == 19 - len(frozen)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_layer_freed_again_trains_from_fresh_moments(backbone, name):
    optimizer = build_optimizer(name, backbone)
    step(backbone, optimizer)
    apply_freeze_plan(backbone, plan_for(backbone), optimizer=optimizer)
    apply_freeze_plan(backbone, plan_for(backbone, ()), optimizer=optimizer)
    before = backbone.conv2.weight.detach().clone()
    step(backbone, optimizer)
    assert not torch.equal(backbone.conv2.weight, before)
    if name == "adamw":
        assert optimizer.state[backbone.conv2.weight]["step"] == 1
        assert optimizer.state[backbone.conv3.weight]["step"] == 2


def test_a_plan_decides_every_layer_anew(backbone):
    apply_freeze_plan(backbone, plan_for(backbone))
    apply_freeze_plan(backbone, plan_for(backbone, ("conv1.weight",)))
    assert [n for n, weight in get_convolutions(backbone).items() if not weight.requires_grad] == ["conv1.weight"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[1:], r"conv1\.weight: this convolution of the model is not in the freeze plan"),
        (lambda rows: [*rows, PlannedLayer("x", (1, 1, 1, 1), 2, 0, 1, True)], "x: row fits no parameter of the model"),
        (
            lambda rows: [PlannedLayer("conv1.weight", (1, 1, 1, 1), 2, 0, 1, True), *rows[1:]],
            r"conv1\.weight: row has shape",
        ),
    ],
)
def test_a_plan_of_another_backbone_is_refused_and_freezes_nothing(backbone, change, words, tmp_path):
    FreezePlan(tuple(change(list(plan_for(backbone).rows)))).write(tmp_path / "plan.csv")
    with pytest.raises(UserError, match=r"plan\.csv: " + words):
        apply_freeze_plan(backbone, tmp_path / "plan.csv", strict=True)
    assert all(parameter.requires_grad for parameter in backbone.parameters())
