"""CLIP RN50's trunk and pool at true size, with open_clip's own network as the witness."""

import open_clip
import pytest
import torch
from open_clip.model import CLIPVisionCfg, _build_vision_tower

from opentrans.clip.backbone import STAGES, ClipBackbone, MaskedAttentionPool, get_convolutions
from opentrans.clip.weights import ClipWeights


@pytest.fixture(scope="module")
def visual():
    """open_clip's RN50 image encoder; every weight matters, also those that start at 0."""
    architecture = open_clip.get_model_config("RN50")
    torch.manual_seed(0)
    tower = _build_vision_tower(1024, CLIPVisionCfg(**architecture["vision_cfg"])).eval().requires_grad_(False)
    for name, weight in tower.named_parameters():
        if "bn" in name and name.endswith("weight"):
            weight.uniform_(0.3, 0.7)
    return tower


@pytest.fixture(scope="module")
def weights(visual):
    return ClipWeights(open_clip.get_model_config("RN50"), visual.state_dict(), 100.0, torch.device("cpu"))


def test_the_trunk_has_the_papers_convolutions_and_parameters(weights):
    backbone = ClipBackbone.of_teacher(weights)
    convolutions = get_convolutions(backbone).values()
    assert (len(convolutions), sum(weight.numel() for weight in convolutions)) == (55, 23_474_016)
    assert sum(weight.numel() for weight in backbone.parameters()) == 23_527_264


def test_features_and_pool_are_those_of_open_clips_forward_pass(visual, weights):
    seen = {}
    for name, layer in zip(STAGES, (visual.layer1, visual.layer2, visual.layer3, visual.layer4), strict=True):
        layer.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output}))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    embedding = visual(images)
    features = ClipBackbone.of_teacher(weights).eval()(images)
    for name in STAGES:
        assert seen[name].abs().max() > 0
        assert torch.equal(features[name], seen[name]), name
    pooled = MaskedAttentionPool(weights)(features["res5"], torch.ones(1, 1, 7, 7))
    torch.testing.assert_close(pooled[:, 0], embedding, rtol=1e-4, atol=1e-5)
