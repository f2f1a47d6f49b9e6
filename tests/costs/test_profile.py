import open_clip
import pytest
import torch
from ptflops import get_model_complexity_info
from torch import nn

from builders import ARCHITECTURE, ROOT, build_teacher, draw_directions
from opentrans.clip.backbone import ClipBackbone, get_convolutions
from opentrans.clip.text import TextEmbeddings
from opentrans.config import load_config
from opentrans.costs.counting import Phase, training_flops
from opentrans.costs.layer_costs import (
    count_backbone,
    count_convolutions,
    count_macs,
    get_counted_network,
    get_network,
    make_counted_trunk,
    profile_target,
)
from opentrans.costs.tables import read_densities, read_profile, require_layers, write_profile
from opentrans.errors import UserError
from opentrans.models.registry import build_target
from opentrans.models.target import Target


class PoolTarget(Target):
    """A backbone, one linear head used at test and one used only in training."""

    def __init__(self, output_stride=32):
        super().__init__()
        self.backbone = ClipBackbone(ARCHITECTURE, output_stride)
        self.head, self.training_head = nn.Linear(256, 5), nn.Linear(256, 7)

    def network(self, images):
        return self.head(self.backbone(images)["res5"].mean((2, 3)))

    def loss(self, batch):
        raise NotImplementedError

    def predict(self, image, classes, size):
        return self.network(image[None]).argmax(1).expand(size)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_convolutions_sum_to_what_ptflops_counts(stride):
    backbone = ClipBackbone(ARCHITECTURE, stride)
    macs = count_convolutions(backbone, 64, 96)
    options = {"as_strings": False, "print_per_layer_stat": False, "backend": "aten"}
    assert sum(macs.values()) == get_model_complexity_info(backbone, (3, 64, 96), **options)[0]
    assert list(macs) == list(get_convolutions(backbone))


def test_one_convolution_by_hand():
    macs = count_convolutions(ClipBackbone(ARCHITECTURE), 64, 96)
    assert macs["conv1.weight"] == 3 * 4 * 9 * 32 * 48


def test_rn50s_trunk_has_the_papers_figures():
    with torch.device("meta"):
        backbone = ClipBackbone(open_clip.get_model_config("RN50"))
    assert count_backbone(backbone, 800, 1216) / 1e9 == pytest.approx(105.1, abs=0.05)
    assert sum(weight.numel() for weight in backbone.parameters()) / 1e6 == pytest.approx(23.53, abs=0.005)
    assert sum(weight.numel() for weight in get_convolutions(backbone).values()) == 23_474_016


def test_attention_is_counted():
    tokens, width = 6, 8
    attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def network(images):
        sequence = images.reshape(1, tokens, width)
        return attention(query=sequence, key=sequence, value=sequence, need_weights=False)[0]

    products = 4 * tokens * width**2 + 2 * tokens**2 * width
    biases = 4 * tokens * width
    counted = count_macs(network, torch.zeros(1, 3, 4, 4))
    assert products <= counted <= products + biases


def test_profile_sums_to_the_target_without_what_only_training_uses():
    target = PoolTarget()
    rows = profile_target(target, target.network, (64, 96), 32)
    backbone = sum(weight.numel() for weight in target.backbone.parameters())
    assert sum(row.parameters for row in rows) == backbone + 256 * 5 + 5
    assert sum(row.macs for row in rows if row.part == "backbone") == count_backbone(target.backbone, 64, 96)
    assert rows[-1].macs in (256 * 5, 256 * 5 + 5)
    trunk = count_backbone(target.backbone, 32, 32)
    assert sum(row.training_macs for row in rows) == trunk


def test_parameters_count_where_they_are_frozen():
    target = PoolTarget()
    before = profile_target(target, target.network, (64, 64), 32)
    target.backbone.requires_grad_(False)
    assert profile_target(target, target.network, (64, 64), 32) == before


def test_a_trunk_costs_its_backward_pass_only_where_it_is_trained():
    target = PoolTarget()
    phases = [Phase(10)]
    trained = training_flops(profile_target(target, target.network, (64, 64), 32), {}, phases)
    target.trains_backbone = False
    frozen = training_flops(profile_target(target, target.network, (64, 64), 32), {}, phases)
    forward = count_backbone(target.backbone, 32, 32) * 10
    assert (trained, frozen) == (3 * forward, forward)


def test_the_network_is_the_targets_own_or_its_prediction():
    target, text = PoolTarget(), TextEmbeddings(torch.eye(5), torch.arange(5))
    assert get_network(target, text) == target.network
    plain_type = type("Plain", (PoolTarget,), {"network": None})
    plain = plain_type()
    plain.predict = lambda image, classes, size: (tuple(image.shape), len(classes), size)
    assert get_network(plain, text)(torch.zeros(1, 3, 8, 9)) == ((3, 8, 9), 5, (8, 9))


def test_a_profile_survives_the_file(tmp_path):
    target = PoolTarget()
    rows = profile_target(target, target.network, (64, 64), 32)
    write_profile(tmp_path / "profile.csv", rows)
    assert read_profile(tmp_path / "profile.csv") == rows


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_densities, "layer,weights,kept\na,10,11\n", "line 2, column kept: 11 of 10"),
        (read_densities, "layer,weights,kept\na,ten,1\n", "line 2, column weights: 'ten'"),
        (read_densities, "layer,kept\na,1\n", "column weights is missing"),
        (read_profile, "layer\na\n", "is missing"),
    ],
)
def test_wrong_cells_are_named(tmp_path, read, text, message):
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read(path)


def test_a_layer_that_the_backbone_lacks_is_refused(tmp_path):
    target = PoolTarget()
    rows = profile_target(target, target.network, (64, 64), 32)
    with pytest.raises(UserError, match=r"layer layer9\.weight is not in the profile"):
        require_layers({"layer9.weight", "conv1.weight"}, rows, tmp_path)


def test_a_counted_trunk_replaces_the_trained_one_and_nothing_else():
    target, counted = PoolTarget(output_stride=16), ClipBackbone(ARCHITECTURE)
    trained = profile_target(target, target.network, (64, 64), 32)
    rows = profile_target(target, target.network, (64, 64), 32, counted)
    assert sum(row.macs for row in rows if row.part == "backbone") == count_backbone(counted, 64, 64)
    assert sum(row.training_macs for row in rows) == count_backbone(counted, 32, 32)
    assert rows[-1] == trained[-1]
    assert [row.parameters for row in rows] == [row.parameters for row in trained]
    assert sum(row.macs for row in rows) < sum(row.macs for row in trained)


def test_settings_say_which_trunk_and_whether_the_classifier_is_counted():
    changes = {"output_stride": 16, "counted_stride": 32, "counted_classifier": False}
    config = load_config([ROOT / "config/mini.yaml"])
    settings = config.targets["deeplabv3"].model_copy(update=changes)
    text = TextEmbeddings(draw_directions(5, 0), torch.arange(5))
    target = build_target(settings, build_teacher(), text)
    rows = profile_target(target, get_counted_network(target, text, settings), (64, 64), 32)
    pixels = 16 * 16
    whole = profile_target(target, get_network(target, text), (64, 64), 32)
    left_out = {key: getattr(whole[-1], key) - getattr(rows[-1], key) for key in ("macs", "parameters")}
    assert left_out["macs"] == pixels * (64 * 32 + 32 * (5 + 1))  # to CLIP's space, and the product with the text
    assert left_out["parameters"] == 64 * 32 + 32 + 32 + 1  # weight, bias, no-object vector, scale
    assert make_counted_trunk(config.targets["deeplabv3"], ARCHITECTURE) is None
    assert {layer.stride for layer in make_counted_trunk(settings, ARCHITECTURE).layer4[0].downsample[0:1]} == {2}
