"""What the released DeepLabV3 does otherwise, beside plain functions written from its description."""

import pytest
import torch
from model_samples import CLASSES, make_batch
from torch import nn
from torch.nn import functional as F

from builders import ARCHITECTURE
from opentrans.clip.backbone import STAGES, ClipBackbone
from opentrans.clip.weights import Architecture
from opentrans.models.target import IGNORE
from opentrans.sparse.trunk import sparsify

BLOCKS: Architecture = ARCHITECTURE | {"vision_cfg": ARCHITECTURE["vision_cfg"] | {"layers": [1, 2, 1, 3]}}
RELEASED = {
    "trunk": "released",
    "decoder": "released",
    "unlabelled": "no_object",
    "divides_loss": True,
    "compares": "probabilities",
    "no_object_std": 0.1,
}


def normalise(features, norm):
    return F.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def run_released(backbone, images, strides, dilations):
    """The released ResNet: three bare convolutions, pooling, one ReLU; strides in the 3 x 3 and the shortcut."""
    x = normalise(F.conv2d(images, backbone.conv1.weight, stride=2, padding=1), backbone.bn1)
    x = normalise(F.conv2d(x, backbone.conv2.weight, padding=1), backbone.bn2)
    x = normalise(F.conv2d(x, backbone.conv3.weight, padding=1), backbone.bn3)
    x = F.avg_pool2d(x, 2).relu()
    maps = []
    for stage, stride, grid in zip((f"layer{n}" for n in range(1, 5)), strides, dilations, strict=True):
        for number, (block, dilation) in enumerate(zip(getattr(backbone, stage), grid, strict=True)):
            step = stride if number == 0 else 1
            y = normalise(F.conv2d(x, block.conv1.weight), block.bn1).relu()
            y = F.conv2d(y, block.conv2.weight, stride=step, padding=dilation, dilation=dilation)
            y = normalise(y, block.bn2).relu()
            y = normalise(F.conv2d(y, block.conv3.weight), block.bn3)
            if block.downsample is not None:
                x = normalise(F.conv2d(x, block.downsample[1].weight, stride=step), block.downsample[2])
            x = (x + y).relu()
        maps.append(x)
    return maps


@pytest.fixture
def backbone():
    backbone = ClipBackbone(BLOCKS, 16, [2, 4, 8], "released").eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return backbone


def test_released_trunk_is_the_network_of_the_released_code(backbone):
    images = torch.randn(2, 3, 64, 96)
    dilations = [[1], [1, 1], [1], [2, 4, 8]]
    wanted = run_released(backbone, images, (1, 2, 2, 1), dilations)
    for stage, expected in zip(STAGES, wanted, strict=True):
        torch.testing.assert_close(backbone(images)[stage], expected)


def test_released_trunk_takes_clips_weights_and_is_another_network(backbone):
    usual = ClipBackbone(BLOCKS, 16, [2, 4, 8]).eval()
    usual.load_state_dict(backbone.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert usual(images)["res5"].shape == backbone(images)["res5"].shape
    assert not torch.allclose(usual(images)["res2"], backbone(images)["res2"], atol=0.1)


def test_a_trunk_without_pooling_is_not_skipped_through(backbone):
    with torch.no_grad():
        for layer in backbone.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight *= torch.rand_like(layer.weight) < 0.1
    assert sparsify(backbone) is backbone


def test_released_decoder_concatenates_res5_and_aligns_corners(make_target):
    target = make_target("deeplabv3", **RELEASED).eval()
    decoder, features = target.decoder, target.backbone(torch.randn(1, 3, 64, 64))
    deep = features["res5"]
    parts = []
    for branch, rate in zip(decoder.branches, (1, 1, 2, 3), strict=True):
        weight = branch[0].weight
        y = F.conv2d(deep, weight, padding=rate if weight.shape[-1] == 3 else 0, dilation=rate)
        parts.append(normalise(y, branch[1]).relu())
    project, low_level, fuse = decoder.project, decoder.low_level, decoder.fuse
    assert project[0].weight.shape[1] == 4 * 32 + deep.shape[1]
    high = normalise(F.conv2d(torch.cat([*parts, deep], 1), project[0].weight), project[1]).relu()
    low = normalise(F.conv2d(features["res2"], low_level[0].weight), low_level[1]).relu()
    high = F.interpolate(high, low.shape[-2:], mode="bilinear", align_corners=True)
    y = normalise(F.conv2d(torch.cat([high, low], 1), fuse[0].weight, padding=1), fuse[1]).relu()
    y = normalise(F.conv2d(y, fuse[4].weight, padding=1), fuse[5]).relu()
    torch.testing.assert_close(decoder(features), y)
    rates = [layer.p for layer in decoder.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.5, 0.5, 0.1]


def test_released_decoder_starts_from_kaimings_normal(make_target):
    decoder = make_target("deeplabv3", **RELEASED).decoder
    for weight in (decoder.branches[1][0].weight, decoder.fuse[0].weight):
        fan_in = weight[0].numel()
        assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        # A uniform draw of this spread would end at 1.73 of it.
        assert weight.abs().max() > 2.5 * weight.std()


def test_released_loss_trains_unlabelled_pixels_and_divides_twice(make_target):
    target, batch = make_target("deeplabv3", **RELEASED).eval(), make_batch(3)
    logits = F.interpolate(
        target.network(batch.images).permute(0, 3, 1, 2), scale_factor=4, mode="bilinear", align_corners=True
    )
    labels = batch.labels.clone()
    assert (labels == IGNORE).any()
    labels[labels == IGNORE] = CLASSES
    wanted = F.cross_entropy(logits, labels) / 3
    torch.testing.assert_close(target.loss(batch)["segmentation"], wanted)


@pytest.mark.parametrize("change", ["unlabelled", "divides_loss"])
def test_each_part_of_the_loss_is_switched_alone(make_target, change):
    batch, usual = make_batch(3), make_target("deeplabv3").eval()
    other = make_target("deeplabv3", **{change: RELEASED[change]}).eval()
    losses = [target.loss(batch)["segmentation"] for target in (usual, other)]
    if change == "divides_loss":
        torch.testing.assert_close(losses[1], losses[0] / 3)
    else:
        assert losses[0] != losses[1]
        labelled = make_batch(3)
        labelled.labels[labelled.labels == IGNORE] = 0
        assert usual.loss(labelled)["segmentation"] == other.loss(labelled)["segmentation"]


@pytest.mark.parametrize("size", [(64, 64), (50, 90)])
def test_released_prediction_resizes_probabilities(make_target, text, size):
    target, image = make_target("deeplabv3", **RELEASED).eval(), torch.rand(3, 64, 64)
    target.classifier.log_scale.data.fill_(5.0)
    logits = target.network(image[None])[0]
    probabilities = logits.softmax(-1)[..., :-1].permute(2, 0, 1)[None]
    wanted = F.interpolate(probabilities, size, mode="bilinear", align_corners=False)[0].argmax(0)
    assert torch.equal(target.predict(image, text, size), wanted)


def test_no_object_vector_starts_as_long_as_its_setting_says(make_target):
    for kind in ("deeplabv3", "han", "fcclip"):
        usual, short = make_target(kind), make_target(kind, no_object_std=0.1)
        torch.testing.assert_close(short.classifier.no_object, 0.1 * usual.classifier.no_object)
