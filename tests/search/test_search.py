import copy
import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.distillation import tgkd
from opentrans.errors import UserError
from opentrans.models.target import IGNORE
from opentrans.pruning.magnitude import count_remaining, plan_rounds
from opentrans.pruning.masks import MaskKeeper, compute_density, count_kept
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.search.find import find_subnetwork
from opentrans.search.rounds import describe_layers
from opentrans.search.search import Search
from opentrans.search.student import SearchLoss, Student, assign_cells, embed_classes
from opentrans.training.data import collate


@pytest.fixture
def total(backbone):
    return sum(weight.numel() for weight in get_prunable(backbone).values())


@pytest.fixture
def batch(data):
    return collate(data.get_examples(0, 3, range(3)), 6, 1.0, torch.device("cpu"))


def densities(subnetwork):
    return {name: compute_density({name: mask}) for name, mask in subnetwork.masks.items()}


def same(left, right):
    return all(torch.equal(left.weights[name], value) for name, value in right.weights.items()) and all(
        torch.equal(left.masks[name], mask) for name, mask in right.masks.items()
    )


def test_a_search_ends_at_exactly_the_density_and_logs_every_round(recipe, teacher, text, data, total):
    found, log = find_subnetwork(recipe(), teacher, text, data, 3)
    rounds = plan_rounds(total, 0.3, 0.2, "train_first")
    assert count_kept(found.masks) == count_remaining(total, 0.2)
    assert [row["kept"] for row in log] == [*rounds, rounds[-1]]
    assert [row["iterations"] for row in log] == [*(2 * (n + 1) for n in range(len(rounds))), 2 * len(rounds) + 3]
    assert [row["round"] for row in log] == list(range(1, len(rounds) + 2))
    assert all(math.isfinite(float(row["loss"])) and float(row["loss"]) > 0 for row in log)
    assert {name: float(log[-1][name]) for name in found.masks} == pytest.approx(densities(found), abs=1e-7)
    assert sum(row["kept"] for row in describe_layers(found.masks)) == count_kept(found.masks)


def test_a_round_that_prunes_first_trains_its_mask_afterwards(recipe, teacher, text, data, total, monkeypatch):
    done = []
    prune, step = Search.prune, Search.step
    monkeypatch.setattr(Search, "prune", lambda search, n: (done.append(n), prune(search, n))[1])
    monkeypatch.setattr(Search, "step", lambda search, *words: (done.append("train"), step(search, *words))[1])
    found, log = find_subnetwork(recipe(order="prune_first", recovery_iterations=0), teacher, text, data, 3)
    rounds = plan_rounds(total, 0.3, 0.2, "prune_first")
    assert done == [event for n_kept in rounds for event in (n_kept, "train", "train")]
    # The log says which density each round was trained at; the last mask is the subnetwork's.
    assert [row["kept"] for row in log] == rounds
    assert count_kept(found.masks) == rounds[-1] >= count_remaining(total, 0.2)
    assert rounds[-1] - rounds[-1] * 3 // 10 < count_remaining(total, 0.2)


@pytest.mark.parametrize("layout", ["global", "per_layer"])
def test_the_fair_control_trains_a_random_mask_as_long(recipe, teacher, text, data, backbone, layout):
    found, log = find_subnetwork(recipe(), teacher, text, data, 3)
    settings = recipe(method="random_distilled", layout=layout)
    control, its_log = find_subnetwork(settings, teacher, text, data, 3, found)
    drawn, _ = find_subnetwork(recipe(method="random", layout=layout), teacher, text, data, 3, found)
    # The mask is drawn first and stays; the weights under it move; both are as dense as the subnetwork.
    assert all(torch.equal(control.masks[name], mask) for name, mask in drawn.masks.items())
    assert count_kept(control.masks) == count_kept(found.masks)
    assert [row["iterations"] for row in its_log] == [row["iterations"] for row in log]
    assert {row["kept"] for row in its_log} == {count_kept(found.masks)}
    assert not torch.equal(control.weights["conv1.weight"], drawn.weights["conv1.weight"])
    assert not any(control.weights[name][~mask].any() for name, mask in control.masks.items())
    # Removed weights are the teacher's: they went before any training.
    for name, values in control.removed.items():
        assert torch.equal(values, backbone.state_dict()[name][~control.masks[name]])


def test_masks_only_shrink_and_pruned_weights_are_zero_after_every_step(recipe, teacher, text, data, monkeypatch):
    states = []
    search = Search(recipe(), teacher, text, data)
    original = MaskKeeper.apply

    def spy(keeper):
        original(keeper)
        weights = get_prunable(search.student.backbone)
        states.append({name: (search.masks[name], weight.detach() == 0) for name, weight in weights.items()})

    monkeypatch.setattr(MaskKeeper, "apply", spy)
    search.run()
    assert len(states) == search.iteration + len(search.log) - 1  # every step, and the end of every pruning round
    for before, after in itertools.pairwise(states):
        for name, (mask, zeros) in after.items():
            assert bool(zeros[~mask].all())
            assert not bool((mask & ~before[name][0]).any())


def test_removed_weights_are_kept_as_they_were_when_they_went(recipe, teacher, text, data, monkeypatch):
    expected, prune = {}, Search.prune

    def spy(search, kept):
        before, masks = copy.deepcopy(get_prunable(search.student.backbone)), search.masks
        prune(search, kept)
        for name, weight in before.items():
            gone = masks[name] & ~search.masks[name]
            expected.setdefault(name, torch.zeros_like(weight))[gone] = weight.detach()[gone]

    monkeypatch.setattr(Search, "prune", spy)
    found, _ = find_subnetwork(recipe(), teacher, text, data, 3)
    assert any(len(values) for values in found.removed.values())
    for name, mask in found.masks.items():
        assert torch.equal(found.removed.get(name, torch.zeros(0)), expected[name][~mask])


def test_a_random_mask_removes_the_teachers_weights(recipe, teacher, text, data, backbone):
    found, _ = find_subnetwork(recipe(method="random"), teacher, text, data, 3)
    for name, values in found.removed.items():
        assert torch.equal(values, backbone.state_dict()[name][~found.masks[name]])


def test_weights_and_statistics_move(recipe, teacher, text, data, backbone):
    found, _ = find_subnetwork(recipe(), teacher, text, data, 3)
    for name in ("conv1.weight", "bn1.weight", "bn1.running_mean", "layer4.0.bn3.running_var"):
        assert not torch.equal(found.weights[name], backbone.state_dict()[name])


def test_the_control_trains_through_the_same_iterations_and_prunes_nothing(recipe, teacher, text, data):
    search = Search(recipe(), teacher, text, data)
    search.run()
    found, log = find_subnetwork(recipe(method="distill"), teacher, text, data, 3)
    assert found.density == 1
    assert [row["iterations"] for row in log] == [row["iterations"] for row in search.log]
    assert log[0]["loss"] == search.log[0]["loss"]
    assert log[-1]["loss"] != search.log[-1]["loss"]


def test_a_search_is_reproducible(recipe, teacher, text, data):
    first, again = (find_subnetwork(recipe(), teacher, text, data, 3) for _ in range(2))
    assert same(first[0], again[0])
    assert first[1] == again[1]


def test_training_lowers_the_distillation_loss(recipe, teacher, text, data):
    settings = {"optimizer": {"name": "adamw", "lr": 3e-3}, "iterations": 8, "batch_size": 6}
    _, log = find_subnetwork(recipe(method="distill", **settings), teacher, text, data, 3)
    assert float(log[-1]["loss"]) < 0.9 * float(log[0]["loss"])


@pytest.mark.parametrize("loss", ["vgkd", "tgkd_released", "tgkd+segmentation"])
def test_every_loss_searches(recipe, teacher, text, data, loss):
    settings = recipe(loss=loss, iterations=1, optimizer={"name": "sgd", "lr": 1e-3, "clip_norm": 1.0})
    found, log = find_subnetwork(settings, teacher, text, data, 3)
    other, _ = find_subnetwork(recipe(iterations=1, optimizer=settings.optimizer.model_dump()), teacher, text, data, 3)
    assert found.density == other.density
    assert not same(found, other)
    assert math.isfinite(float(log[-1]["loss"]))


def test_the_dense_subnetwork_is_the_teachers_trunk(recipe, teacher, text, data, backbone):
    found, log = find_subnetwork(recipe(method="dense"), teacher, text, data, 3)
    assert found.density == 1
    assert all(torch.equal(found.weights[name], value) for name, value in backbone.state_dict().items())
    assert [row["round"] for row in log] == [0]


def test_random_masks_have_the_density_of_a_search(recipe, teacher, text, data, backbone):
    found, _ = find_subnetwork(recipe(), teacher, text, data, 3)
    random, _ = find_subnetwork(recipe(method="random"), teacher, text, data, 3)
    matched, _ = find_subnetwork(recipe(method="random", layout="per_layer"), teacher, text, data, 3, found)
    assert count_kept(random.masks) == count_kept(matched.masks) == count_kept(found.masks)
    assert densities(matched) == densities(found)
    for subnetwork in (random, matched):
        for name, mask in subnetwork.masks.items():
            assert torch.equal(subnetwork.weights[name], backbone.state_dict()[name] * mask)


def test_a_matched_random_mask_needs_a_subnetwork_of_this_backbone(recipe, teacher, text, data, backbone):
    settings = recipe(method="random", layout="per_layer")
    with pytest.raises(UserError, match="--match"):
        find_subnetwork(settings, teacher, text, data, 3)
    architecture = teacher.architecture | {"vision_cfg": teacher.architecture["vision_cfg"] | {"width": 16}}
    wide = ClipBackbone(architecture)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in get_prunable(wide).items()}
    with pytest.raises(UserError, match="shape"):
        find_subnetwork(settings, teacher, text, data, 3, Subnetwork.of_backbone(wide, masks))


def test_a_loss_that_is_not_finite_ends_the_search(recipe, teacher, text, data):
    settings = recipe(optimizer={"name": "sgd", "lr": 1e30})
    with pytest.raises(UserError, match="lower the learning rate"):
        find_subnetwork(settings, teacher, text, data, 3)


def test_the_loss_is_eq_3_on_the_pooled_regions(teacher, text, batch):
    student = Student(teacher, 16).eval()
    loss = SearchLoss("tgkd", text, teacher.logit_scale)(student, batch)
    features, values = student.extract_features(batch.images), []
    for image, part in enumerate(batch.regions):
        if part.known.any():
            masks = assign_cells(part.masks[part.known], features.shape[-2:], int(part.known.sum()))
            visual = F.normalize(student.pool(features[image : image + 1], masks[None])[0], dim=-1)
            values.append(tgkd(visual, part.embeddings[part.known], embed_classes(text)[part.classes[part.known]]))
    assert loss.item() == pytest.approx(torch.stack(values).mean().item(), rel=1e-5)


def test_the_segmentation_term_is_the_cross_entropy_of_labelled_positions(teacher, text, batch):
    student = Student(teacher, 16).eval()
    both, alone = (SearchLoss(name, text, 10.0)(student, batch) for name in ("tgkd+segmentation", "tgkd"))
    pixels = student.embed_pixels(student.extract_features(batch.images))
    terms, height = [], pixels.shape[1]
    for image in range(len(pixels)):
        for y in range(height):
            for x in range(height):
                label = int(batch.labels[image, y * 32 // height, x * 32 // height])
                if label != IGNORE:
                    scores = text.embeddings @ pixels[image, y, x] * 10
                    classes = torch.stack([scores[text.class_index == c].max() for c in range(len(text))])
                    terms.append(-classes.log_softmax(0)[label])
    assert (both - alone).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


def test_an_image_without_regions_costs_nothing(teacher, text, batch):
    for part in batch.regions:
        part.known[:] = False
    student = Student(teacher, 16)
    loss = SearchLoss("tgkd", text, 1.0)(student, batch)
    loss.backward()
    assert float(loss) == 0


def test_a_region_takes_the_positions_it_covers_by_half_or_else_most():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :5, :4] = True  # all of the upper left quarter, a quarter of the one below
    masks[1, 7, 7] = True  # one pixel
    found = assign_cells(masks, (2, 2), 4)
    assert found.flatten(1).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_class_is_the_mean_direction_of_its_synonyms(text):
    expected = text.embeddings[1] + text.embeddings[2]
    assert torch.allclose(embed_classes(text)[1], expected / expected.norm(), atol=1e-6)
    assert torch.allclose(embed_classes(text)[0], text.embeddings[0], atol=1e-6)
