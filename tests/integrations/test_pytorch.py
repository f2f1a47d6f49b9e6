import copy

import pytest
import torch
from host_samples import PREFIX, count_revived, make_examples, make_host, make_subnetwork
from torch import nn

from opentrans.clip.backbone import get_convolutions
from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.apply import apply_freeze_plan
from opentrans.freezing.plan import FreezePlan
from opentrans.freezing.planning import plan_model
from opentrans.integrations.schedule import FreezeSchedule
from opentrans.pruning.apply import apply_subnetwork

HALF = FreezeRecipe(method="alpha", ratio=0.5, estimator="released")


def train(model, optimizer, steps=3, clip=None):
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(*make_examples())["loss"].backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


def adam(model):
    return torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)


@pytest.mark.parametrize("prefix", [PREFIX, f"{PREFIX}.", "*.visual", "backbone.*.visual"])
def test_the_subnetwork_stays_exact_over_training(host, subnetwork, prefix):
    keeper = apply_subnetwork(host, subnetwork, prefix)
    before = {name: weight.clone() for name, weight in host.named_parameters()}
    train(host, adam(host), clip=0.1)
    assert keeper.count_violations() == count_revived(host, subnetwork) == 0
    moved = dict(host.named_parameters())
    kept = [f"{PREFIX}.{name}" for name, mask in subnetwork.masks.items() if mask.any()]
    assert all(not torch.equal(moved[name], before[name]) for name in kept)


def test_weights_and_statistics_are_the_subnetworks(host, subnetwork):
    apply_subnetwork(host, subnetwork, PREFIX)
    state = host.state_dict()
    assert all(torch.equal(state[f"{PREFIX}.{name}"], value) for name, value in subnetwork.weights.items())


def test_a_models_own_weights_can_be_pruned_instead(host, subnetwork):
    own = copy.deepcopy(host.state_dict())
    apply_subnetwork(host, subnetwork, PREFIX, load_weights=False)
    state = host.state_dict()
    for name, mask in subnetwork.masks.items():
        assert torch.equal(state[f"{PREFIX}.{name}"], own[f"{PREFIX}.{name}"] * mask)


def test_the_gradient_norm_does_not_see_pruned_weights(host, subnetwork):
    apply_subnetwork(host, subnetwork, PREFIX)
    host(*make_examples())["loss"].backward()
    gradients = {name: weight.grad for name, weight in host.named_parameters() if weight.grad is not None}
    assert count_revived(gradients, subnetwork) == 0
    assert all(gradients[f"{PREFIX}.{name}"].any() for name in subnetwork.masks)


def test_old_moments_revive_weights_unless_the_optimizer_is_given(subnetwork):
    counts = []
    for given in (False, True):
        host = make_host()
        optimizer = adam(host)
        train(host, optimizer)
        apply_subnetwork(host, subnetwork, PREFIX, optimizer if given else None)
        train(host, optimizer)
        counts.append(count_revived(host, subnetwork))
        assert count_revived(host.state_dict(), subnetwork) == 0  # what is saved is masked either way
    assert counts[0] > 0
    assert counts[1] == 0


def test_removed_masks_hold_no_longer(host, subnetwork):
    apply_subnetwork(host, subnetwork, PREFIX).remove()
    train(host, adam(host))
    assert count_revived(host, subnetwork) > 0


def test_wrappers_are_seen_through(host, subnetwork):
    class Data(nn.DataParallel):
        def __init__(self, module):
            super().__init__(module, device_ids=[])

    wrapped = Data(host)
    apply_subnetwork(wrapped, subnetwork, PREFIX)
    assert count_revived(host, subnetwork) == 0
    compiled = torch.compile(make_host(), backend="eager")
    assert apply_subnetwork(compiled, subnetwork, "*.visual").count_violations() == 0


def test_a_copied_model_can_be_saved_and_has_the_weights(host, subnetwork, tmp_path):
    apply_subnetwork(host, subnetwork, PREFIX, adam(host))
    other = copy.deepcopy(host)
    torch.save(other.state_dict(), tmp_path / "model.pt")
    assert count_revived(torch.load(tmp_path / "model.pt", weights_only=True), subnetwork) == 0


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("backbone.clip.visual", ["no such module", "nearest names: backbone.clip_model.visual"]),
        ("", ["conv2.weight", f"nearest names: {PREFIX}.conv2.weight", f"it fits under prefix '{PREFIX}'"]),
        (f"{PREFIX}.layer1", ["mask fits no parameter of module", "nearest names"]),
        ("*layer*", ["fits", "modules:", "give one of them"]),
        ("head", ["mask fits no parameter of module 'head'"]),
    ],
)
def test_a_wrong_prefix_is_explained_and_changes_nothing(host, subnetwork, prefix, words):
    before = copy.deepcopy(host.state_dict())
    with pytest.raises(UserError) as caught:
        apply_subnetwork(host, subnetwork, prefix)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in host.state_dict().items())


def test_masks_of_another_width_or_depth_are_refused(host, subnetwork):
    narrow = make_host()
    visual = narrow.backbone.clip_model.visual
    visual.layer1[0].conv1 = nn.Conv2d(8, 4, 1, bias=False)
    with pytest.raises(UserError, match=r"layer1\.0\.conv1\.weight: mask has shape \(8, 8, 1, 1\)"):
        apply_subnetwork(narrow, subnetwork, PREFIX)
    host.backbone.clip_model.visual.neck = nn.Conv2d(4, 4, 1)
    with pytest.raises(UserError, match=r"neck\.weight: this convolution of the model is not in the subnetwork"):
        apply_subnetwork(host, subnetwork, PREFIX)
    assert apply_subnetwork(host, subnetwork, PREFIX, strict=False).count_violations() == 0


def test_files_serve_as_well(host, subnetwork, tmp_path):
    subnetwork.save(tmp_path / "subnetwork.safetensors")
    apply_subnetwork(host, tmp_path / "subnetwork.safetensors", PREFIX)
    plan_model(host, HALF, prefix=PREFIX, kinds=("conv",)).write(tmp_path / "plan.csv")
    assert apply_freeze_plan(host, tmp_path / "plan.csv", PREFIX)
    with pytest.raises(UserError, match=r"plan\.csv"):
        apply_freeze_plan(host, tmp_path / "plan.csv", "head")


def test_frozen_layers_stand_still_and_the_others_train(host):
    plan = plan_model(host, HALF, prefix=PREFIX, kinds=("conv",))
    optimizer = adam(host)
    train(host, optimizer)
    frozen = apply_freeze_plan(host, plan, PREFIX, optimizer)
    before = {name: weight.detach().clone() for name, weight in host.named_parameters()}
    train(host, optimizer)
    still = {n for n, weight in host.named_parameters() if torch.equal(weight, before[n]) and "attnpool" not in n}
    assert len(frozen) == len(plan.frozen) > 5
    assert still == set(frozen)
    parameters = dict(host.named_parameters())
    assert not any(parameters[name] in optimizer.state for name in frozen)


def test_a_plan_frees_what_an_earlier_one_froze(host):
    plan = plan_model(host, HALF, prefix=PREFIX, kinds=("conv",))
    apply_freeze_plan(host, plan, PREFIX)
    rows = tuple(type(row)(row.layer, row.shape, 2.0, 0.1, 1.0, not row.frozen) for row in plan.rows)
    frozen = apply_freeze_plan(host, FreezePlan(rows), PREFIX)
    assert {name for name, weight in host.named_parameters() if not weight.requires_grad} == set(frozen)


def test_a_layer_that_the_optimizer_does_not_hold_is_not_freed(host):
    """FC-CLIP freezes its trunk before its optimiser is made; DDP would wait for gradients that never come."""
    trunk = list(host.backbone.parameters())
    for weight in trunk:
        weight.requires_grad_(False)
    optimizer = adam(host.head)
    apply_freeze_plan(host, plan_model(host, HALF, prefix=PREFIX, kinds=("conv",)), PREFIX, optimizer)
    assert not any(weight.requires_grad for weight in trunk)
    optimizer.add_param_group({"params": trunk})
    frozen = apply_freeze_plan(host, plan_model(host, HALF, prefix=PREFIX, kinds=("conv",)), PREFIX, optimizer)
    convolutions = {f"{PREFIX}.{name}" for name, weight in get_convolutions(host.backbone.clip_model.visual).items()}
    assert {name for name, weight in host.backbone.named_parameters("backbone") if weight.requires_grad} == (
        convolutions - set(frozen)
    )


def test_a_recipe_is_planned_at_its_start_and_resumed_with_the_same_plan(host):
    optimizer, schedule = adam(host), FreezeSchedule(HALF, start=2, prefix=PREFIX)
    assert [schedule.step(host, iteration, optimizer) for iteration in range(4)] == [False, False, True, False]
    state = schedule.state_dict()
    expected = {name for name, weight in host.named_parameters() if not weight.requires_grad}
    other = make_host(seed=5)
    resumed = FreezeSchedule(HALF, start=2, prefix=PREFIX)
    resumed.load_state_dict(state)
    assert resumed.step(other, 3, adam(other))
    assert {name for name, weight in other.named_parameters() if not weight.requires_grad} == expected
    assert FreezeSchedule(**schedule.describe()).plan == HALF


def test_dropped_gradients_freeze_like_a_plan(host):
    """What a model gets that DDP has wrapped: gradients are made, reduced and thrown away."""
    optimizer, schedule = adam(host), FreezeSchedule(HALF, prefix=PREFIX)
    train(host, optimizer)
    schedule.step(host, 0, optimizer, drop_gradients=True)
    before = {name: weight.detach().clone() for name, weight in host.named_parameters()}
    assert all(weight.requires_grad for weight in host.parameters())
    train(host, optimizer)
    still = {n for n, weight in host.named_parameters() if torch.equal(weight, before[n]) and "attnpool" not in n}
    assert still == set(schedule.frozen)


def test_another_subnetwork_cannot_continue(subnetwork):
    assert make_subnetwork(seed=8).density == pytest.approx(subnetwork.density)
    host = make_host()
    apply_subnetwork(host, subnetwork, PREFIX)
    assert apply_subnetwork(host, make_subnetwork(seed=8), PREFIX, load_weights=False).n_revived > 0
