from dataclasses import replace
from itertools import permutations

import pytest
import torch
from model_samples import CLASSES, make_batch, make_settings
from torch.nn import functional as F

from opentrans.models.mask2former import MaskHead, SetCriterion, make_config
from opentrans.models.target import Regions

CHANNELS = {"res2": 32, "res3": 64, "res4": 128, "res5": 256}
CONFIG = make_config(make_settings("han", train_points=4096), CLASSES)


@pytest.fixture
def criterion():
    return SetCriterion(CONFIG)


def predictions(images: int = 2):
    return torch.randn(images, 8, 16, 16), torch.randn(images, 8, CLASSES + 1)


def no_regions(side: int = 64) -> Regions:
    return Regions(
        torch.zeros(0, side, side, dtype=torch.bool), torch.zeros(0).long(), torch.zeros(0, 32), torch.zeros(0) > 0
    )


def test_the_head_says_something_after_each_layer_and_before_the_first():
    head = MaskHead(make_config(make_settings("han"), CLASSES), CHANNELS)
    features = {
        name: torch.randn(2, CHANNELS[name], side, side) for name, side in zip(CHANNELS, (16, 8, 4, 2), strict=True)
    }
    outputs = head(features)
    assert [states.shape for states in outputs.queries] == [(2, 8, 32)] * 3
    assert [masks.shape for masks in outputs.masks] == [(2, 8, 16, 16)] * 3
    assert outputs.features.shape == (2, 32, 16, 16)


def test_every_new_weight_is_initialised_and_follows_the_seed():
    def build():
        torch.manual_seed(5)
        return MaskHead(make_config(make_settings("han"), CLASSES), CHANNELS).state_dict()

    first, second = build(), build()
    assert all(torch.equal(first[name], second[name]) and first[name].isfinite().all() for name in first)
    bound = (6 / (32 + 32)) ** 0.5
    weight = first["pixel_decoder.encoder.layers.0.fc1.weight"]
    assert 0.9 * bound < weight.abs().max() <= bound


def test_matching_finds_the_cheapest_assignment(criterion):
    masks, logits = predictions(1)
    batch = make_batch(1)
    ((queries, regions),) = criterion.match(masks, logits, batch.regions)
    # Nearest-pixel masks at the logits' own size: an average over all pixels instead of the matcher's random points.
    truth = batch.regions[0].masks[:, 2::4, 2::4].float().flatten(1)
    predicted = masks[0].flatten(1)

    def cost(query, region):
        p, t = predicted[query].sigmoid(), truth[region]
        dice = 1 - (2 * (p * t).sum() * 16 + 1) / ((p.sum() + t.sum()) * 16 + 1)
        entropy = F.binary_cross_entropy_with_logits(predicted[query], t)
        return 5 * entropy + 5 * dice - 2 * logits[0, query].softmax(0)[batch.regions[0].classes[region]]

    best = min(permutations(range(8), 2), key=lambda pair: cost(pair[0], 0) + cost(pair[1], 1))
    assert dict(zip(regions.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))


def test_the_class_term_is_the_librarys_when_the_batch_is_the_global_batch(criterion):
    masks, logits = predictions()
    batch = make_batch()
    matches = criterion.match(masks, logits, batch.regions)
    expected = criterion.loss_labels(logits, [regions.classes for regions in batch.regions], matches)
    torch.testing.assert_close(criterion(masks, logits, batch, matches)["class"], 2 * expected["loss_cross_entropy"])


def test_mask_terms_are_divided_by_the_global_number_of_regions(criterion):
    masks, logits = predictions()
    batch = make_batch()
    matches = criterion.match(masks, logits, batch.regions)
    terms = []
    for count in (4, 8):
        torch.manual_seed(6)
        terms.append(criterion(masks, logits, replace(batch, global_regions=count), matches))
    for name in ("mask", "dice"):
        torch.testing.assert_close(terms[0][name], 2 * terms[1][name])


def test_perfect_masks_cost_next_to_nothing(criterion):
    batch = make_batch()
    truth = torch.stack([F.interpolate(r.masks[None].float(), (16, 16))[0] for r in batch.regions])
    masks = torch.cat([(truth - 0.5) * 100, torch.full((2, 6, 16, 16), -50.0)], dim=1)
    logits = torch.zeros(2, 8, CLASSES + 1)
    terms = criterion(masks, logits, batch, criterion.match(masks, logits, batch.regions))
    worst = criterion(-masks, logits, batch, [(torch.tensor([0, 1]), torch.tensor([0, 1]))] * 2)
    assert terms["mask"] < 0.1 * worst["mask"]
    assert terms["dice"] < 0.2 * worst["dice"]


@pytest.mark.parametrize("empty", [1, 2])
def test_images_without_regions_train_no_object_only(criterion, empty):
    masks, logits = (values.requires_grad_() for values in predictions())
    batch = make_batch()
    batch.regions[:empty] = [no_regions()] * empty
    terms = criterion(masks, logits, batch, criterion.match(masks, logits, batch.regions))
    sum(terms.values()).backward()
    assert masks.grad is not None
    assert not masks.grad[0].any()
    assert (logits.grad[0, :, -1] < 0).all()


def test_labels_of_matched_queries_are_ignored_at_the_given_share(criterion):
    ignoring = SetCriterion(CONFIG, ignored_share=0.5)
    masks, logits = predictions()
    batch = make_batch()
    matches = criterion.match(masks, logits, batch.regions)
    rows = torch.cat([queries + index * logits.shape[1] for index, (queries, _) in enumerate(matches)])
    kept = []
    for _ in range(200):
        fresh = logits.clone().requires_grad_()
        ignoring(masks, fresh, batch, matches)["class"].backward()
        gradients = fresh.grad.flatten(0, 1).abs().sum(-1)
        kept.append((gradients[rows] > 0).float().mean())
        others = torch.ones(len(gradients), dtype=torch.bool).index_fill(0, rows, False)
        assert (gradients[others] > 0).all()
    assert 0.4 < torch.stack(kept).mean() < 0.6


def test_the_ignored_share_keeps_the_class_losss_size_on_average(criterion):
    masks, logits = predictions()[0], torch.zeros(2, 8, CLASSES + 1)
    batch = make_batch()
    matches = criterion.match(masks, logits, batch.regions)
    ignoring = SetCriterion(CONFIG, ignored_share=0.5)
    mean = torch.stack([ignoring(masks, logits, batch, matches)["class"] for _ in range(400)]).mean()
    torch.testing.assert_close(mean, criterion(masks, logits, batch, matches)["class"], rtol=0.05, atol=0)
