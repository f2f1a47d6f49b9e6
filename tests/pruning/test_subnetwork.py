import pytest
import torch

from opentrans.clip.backbone import STEM_FIRST, ClipBackbone, get_prunable
from opentrans.clip.teacher import Teacher
from opentrans.errors import UserError
from opentrans.pruning.magnitude import random_masks
from opentrans.pruning.masks import MaskKeeper, count_kept, dense_masks
from opentrans.pruning.subnetwork import MASK, REMOVED, Subnetwork
from opentrans.system.tensors import load_tensors, save_tensors


def draw(backbone, kept=1000, seed=0):
    return random_masks({name: tuple(weight.shape) for name, weight in get_prunable(backbone).items()}, kept, seed)


def outside_is_zero(backbone, masks):
    return all(bool((weight[~masks[name]] == 0).all()) for name, weight in get_prunable(backbone).items())


@pytest.fixture
def subnetwork(backbone):
    return Subnetwork.of_backbone(backbone, draw(backbone), {"method": "random"})


def test_every_convolution_but_the_stems_first_has_a_mask(backbone, subnetwork):
    assert STEM_FIRST not in subnetwork.masks
    assert len(subnetwork.masks) == 18
    assert subnetwork.weights.keys() == backbone.state_dict().keys()


def test_density_is_the_kept_share(backbone, subnetwork):
    total = sum(weight.numel() for weight in get_prunable(backbone).values())
    assert subnetwork.density == 1000 / total
    assert Subnetwork.of_backbone(backbone, dense_masks(backbone)).density == 1


def test_an_artefact_survives_the_round_trip(subnetwork, tmp_path):
    subnetwork.save(tmp_path / "one.safetensors")
    loaded = Subnetwork.load(tmp_path / "one.safetensors")
    assert all(torch.equal(loaded.masks[name], mask) for name, mask in subnetwork.masks.items())
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in subnetwork.weights.items())
    assert loaded.metadata == {"method": "random", "density": repr(subnetwork.density)}
    loaded.save(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_applying_loads_weights_and_statistics_and_leaves_zeros_outside(subnetwork, teacher):
    other = ClipBackbone.of_teacher(teacher, output_stride=8)
    for parameter in other.parameters():
        parameter.data.fill_(7)
    other.bn1.running_mean.fill_(5)
    subnetwork.apply_to(other)
    assert outside_is_zero(other, subnetwork.masks)
    assert all(torch.equal(value, subnetwork.weights[name]) for name, value in other.state_dict().items())


def test_an_artefact_is_a_copy_of_the_backbone(backbone, subnetwork):
    before = subnetwork.weights["bn1.weight"].clone()
    backbone.bn1.weight.data.fill_(9)
    assert torch.equal(subnetwork.weights["bn1.weight"], before)


def change_file(path, change):
    tensors, metadata = load_tensors(path, "")
    change(tensors)
    save_tensors(path, tensors, metadata)


NAME = MASK + "layer1.0.conv2.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(NAME), r"layer1\.0\.conv2\.weight: mask is missing \(nearest names: layer"),
        (
            lambda t: t.update({MASK + "layer1.0.conv9.weight": t[NAME].clone()}),
            r"fits no layer of .* \(nearest",
        ),
        (lambda t: t.update({NAME: t[NAME][:3].clone()}), r"mask has shape \(3, 8, 3, 3\), the layer \(8, 8, 3, 3\)"),
        (lambda t: t.update({NAME: t[NAME].float()}), r"a mask is boolean, not torch\.float32"),
        (lambda t: t.update({"other": t[NAME].clone()}), "tensor other belongs to no subnetwork"),
        (lambda t: t.update({MASK + STEM_FIRST: torch.ones(4, 3, 3, 3, dtype=torch.bool)}), "fits no layer"),
    ],
)
def test_a_file_with_wrong_masks_is_refused(subnetwork, tmp_path, change, words):
    path = tmp_path / "subnetwork.safetensors"
    subnetwork.save(path)
    change_file(path, change)
    with pytest.raises(UserError, match=words) as error:
        Subnetwork.load(path)
    assert str(path) in str(error.value)


def test_a_truncated_file_is_refused(subnetwork, tmp_path):
    path = tmp_path / "subnetwork.safetensors"
    subnetwork.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        Subnetwork.load(path)
    with pytest.raises(UserError, match="no such file"):
        Subnetwork.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"width": 16}, "weight has shape"), ({"layers": [2, 1, 1, 1]}, "layer1.1.conv1.weight: weight is missing")],
)
def test_a_subnetwork_of_another_backbone_is_refused_and_nothing_is_loaded(subnetwork, teacher, changes, words):
    vision = teacher.architecture["vision_cfg"] | changes
    other = ClipBackbone(Teacher(teacher.architecture | {"vision_cfg": vision}).architecture)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(UserError, match=words):
        subnetwork.apply_to(other, "file.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("by_hooks", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weights_outside_the_mask_stay_zero_at_every_step(backbone, name, by_hooks):
    def step():
        optimizer.zero_grad()
        backbone(torch.rand(2, 3, 32, 32))["res5"].square().mean().backward()
        if not by_hooks:
            keeper.mask_gradients()
        optimizer.step()
        if not by_hooks:
            keeper.apply()

    torch.manual_seed(0)
    if name == "sgd":
        optimizer = torch.optim.SGD(backbone.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    else:
        optimizer = torch.optim.AdamW(backbone.parameters(), 0.01, weight_decay=0.1)
    keeper = MaskKeeper(get_prunable(backbone), dense_masks(backbone))
    step()  # now moments from before the pruning would move pruned weights
    masks = draw(backbone)
    keeper = MaskKeeper(get_prunable(backbone), masks)
    keeper.apply()
    if by_hooks:
        keeper.hold(optimizer)
    before = backbone.layer4[0].conv1.weight.detach().clone()
    for _ in range(3):
        step()
        assert outside_is_zero(backbone, masks)
    assert not torch.equal(backbone.layer4[0].conv1.weight, before)


def test_masked_gradients_never_reach_the_moments(backbone):
    masks = draw(backbone)
    keeper, optimizer = MaskKeeper(get_prunable(backbone), masks), torch.optim.AdamW(backbone.parameters(), 0.01)
    backbone(torch.rand(2, 3, 32, 32))["res5"].square().mean().backward()
    keeper.mask_gradients()
    optimizer.step()
    for name, weight in get_prunable(backbone).items():
        assert bool((optimizer.state[weight]["exp_avg"][~masks[name]] == 0).all())
    assert count_kept(masks) == 1000


def test_a_keeper_holds_until_it_is_removed(backbone):
    optimizer = torch.optim.SGD(backbone.parameters(), 0.1)
    masks = draw(backbone)
    keeper = MaskKeeper(get_prunable(backbone), masks)
    keeper.hold(optimizer)
    keeper.remove()
    backbone(torch.rand(2, 3, 32, 32))["res5"].square().mean().backward()
    optimizer.step()
    assert not outside_is_zero(backbone, masks)


def test_a_keeper_refuses_masks_that_do_not_fit(backbone):
    masks = draw(backbone)
    masks.pop("conv2.weight")
    with pytest.raises(UserError, match=r"conv2\.weight: mask is missing"):
        MaskKeeper(get_prunable(backbone), masks)


def test_removed_weights_are_kept_beside_masks_and_survive_the_disk(backbone, subnetwork, tmp_path):
    for name, weight in get_prunable(backbone).items():
        assert torch.equal(subnetwork.removed[name], weight.detach()[~subnetwork.masks[name]])
    subnetwork.save(tmp_path / "one.safetensors")
    loaded = Subnetwork.load(tmp_path / "one.safetensors")
    assert loaded.removed.keys() == subnetwork.removed.keys()
    assert all(torch.equal(loaded.removed[name], values) for name, values in subnetwork.removed.items())
    assert not Subnetwork.of_backbone(backbone, dense_masks(backbone)).removed


def test_removed_weights_that_the_mask_does_not_remove_are_refused(subnetwork, tmp_path):
    path = tmp_path / "one.safetensors"
    subnetwork.save(path)
    change_file(path, lambda tensors: tensors.update({REMOVED + "layer1.0.conv2.weight": torch.zeros(3)}))
    with pytest.raises(UserError, match=r"layer1\.0\.conv2\.weight: removed weights have shape \(3,\)"):
        Subnetwork.load(path)
