import pytest
import torch
from model_samples import make_batch
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings
from opentrans.models.fcclip import ensemble, pool_masks


def test_the_backbone_is_trained_where_the_setting_says_so(make_target):
    target = make_target("fcclip", trains_backbone=True)
    assert target.trains_backbone
    sum(target.loss(make_batch()).values()).backward()
    assert all(p.requires_grad and p.grad is not None for p in target.backbone.parameters())
    assert all(module.training for module in target.backbone.modules())
    assert not any(module.training for module in target.eval().modules())
    # The out-of-vocabulary classifier stays CLIP's.
    assert not any(p.requires_grad for p in target.attention_pool.parameters())


def test_the_backbone_gets_no_gradient_and_stays_in_evaluation(make_target):
    target = make_target("fcclip").train()
    before = {name: value.clone() for name, value in target.backbone.state_dict().items()}
    sum(target.loss(make_batch()).values()).backward()
    assert not target.trains_backbone
    assert target.head.training
    assert not any(module.training for module in target.backbone.modules())
    assert all(p.grad is None and not p.requires_grad for p in target.backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in target.backbone.state_dict().items())


def test_the_ensemble_by_hand():
    # Softmax of logarithms is the probability itself; one query, two classes, then no-object.
    inside = torch.tensor([[0.4, 0.1, 0.5]]).log()  # without no-object: 0.8, 0.2
    outside = torch.tensor([[0.3, 0.7]]).log()
    result = ensemble(inside, outside, torch.tensor([[0.4, 0.8]]))
    seen, unseen = 0.8**0.6 * 0.3**0.4, 0.2**0.2 * 0.7**0.8
    expected = torch.tensor([[seen, unseen]]) / (seen + unseen) * 0.5
    torch.testing.assert_close(result, expected)


def test_an_exponent_of_zero_leaves_the_in_vocabulary_probabilities():
    inside, outside = torch.randn(3, 6), torch.randn(3, 5)
    result = ensemble(inside, outside, torch.zeros(3, 5))
    torch.testing.assert_close(result, inside.softmax(-1)[:, :-1])


def test_exponents_follow_seen_classes_and_valid_masks(make_target, text):
    target = make_target("fcclip")
    unseen = F.normalize(torch.randn(1, 32), dim=-1)
    vocabulary = TextEmbeddings(torch.cat([unseen, text.embeddings[3:4]]), torch.arange(2))
    exponents = target._get_exponents(vocabulary, torch.tensor([[True, False]]))
    torch.testing.assert_close(exponents, torch.tensor([[[0.8, 0.4], [0.0, 0.0]]]))


def test_pooling_is_the_mean_over_positive_logits():
    features, masks = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 4, 4)
    masks[0, 1] = -1
    pooled = pool_masks(features, masks)
    torch.testing.assert_close(pooled[0, 0], features[0][:, masks[0, 0] > 0].mean(1))
    assert not pooled[0, 1].any()


def test_masks_that_miss_clips_feature_map_are_judged_in_vocabulary_only(make_target, text):
    target = make_target("fcclip").eval()
    masks = torch.full((1, 8, 16, 16), -5.0)
    masks[0, 0, :8] = 5.0
    _, valid = target._classify_outside(torch.randn(1, 256, 2, 2), masks, text)
    assert valid[0].tolist() == [True] + [False] * 7


def test_the_out_of_vocabulary_scale_is_clips_own(make_target, teacher):
    assert make_target("fcclip").clip_scale.item() == pytest.approx(teacher.logit_scale)
