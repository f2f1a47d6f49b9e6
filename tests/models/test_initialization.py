import math

import pytest
import torch
from model_samples import CLASSES, make_settings
from transformers import Mask2FormerModel, ResNetConfig

from opentrans.models.initialization import make_offset_grid
from opentrans.models.mask2former import MaskHead, make_config

WIDTH, HEADS = 64, 8
CHANNELS = {"res2": 32, "res3": 64, "res4": 128, "res5": 256}
SETTINGS = {"width": WIDTH, "heads": HEADS, "feedforward": 128, "encoder_feedforward": 128, "queries": 40}
CONFIG = make_config(make_settings("han", **SETTINGS), CLASSES)
# Of these the library draws a normal of fixed width where the published code has Xavier's.
OURS = ("input_projections", "adapter_", "layer_", "mask_projection")


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    return MaskHead(CONFIG, CHANNELS)


@pytest.fixture(scope="module")
def library():
    """The same modules inside the library's own model, initialised by the library."""
    torch.manual_seed(1)
    config = make_config(make_settings("han", **SETTINGS), CLASSES)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    config.backbone_config = ResNetConfig(
        embedding_size=8, hidden_sizes=[*CHANNELS.values()], depths=[1] * 4, out_features=stages
    )
    model = Mask2FormerModel(config)
    parts = {"pixel_decoder": model.pixel_level_module.decoder, "decoder": model.transformer_module}
    return {
        f"{part}.{name}": value.detach() for part, module in parts.items() for name, value in module.named_parameters()
    }


def is_ours(name):
    """Weights of convolutions, and of the pixel decoder's feed-forward layers."""
    inside = name.removeprefix("pixel_decoder.")
    return inside.startswith(OURS) or (inside.startswith("encoder.layers.") and ".fc" in inside)


def test_the_head_has_the_librarys_parameters(head, library):
    assert {name: value.shape for name, value in head.named_parameters()} == {
        name: value.shape for name, value in library.items()
    }


def test_every_kind_of_weight_starts_as_the_librarys_own_model(head, library):
    compared = 0
    for name, parameter in head.named_parameters():
        value = parameter.detach()
        if is_ours(name) and value.dim() > 1:
            continue
        theirs = library[name]
        if theirs.std(correction=0) == 0 or value.numel() < WIDTH:
            assert torch.equal(value, theirs) or value.numel() < WIDTH, name
        elif "sampling_offsets.bias" in name:
            torch.testing.assert_close(value, theirs)
        else:
            # The same law: spread and largest value agree as far as two draws of one law do.
            tolerance = 6 / math.sqrt(value.numel()) + 0.02
            assert abs(value.mean() - theirs.mean()) < tolerance * theirs.std(), name
            assert value.std() == pytest.approx(float(theirs.std()), rel=tolerance), name
            assert value.abs().max() == pytest.approx(float(theirs.abs().max()), rel=0.35), name
        compared += 1
    assert compared > 40


def test_what_the_library_draws_otherwise_is_xaviers(head):
    weights = {name: value for name, value in head.named_parameters() if is_ours(name) and value.dim() > 1}
    assert len(weights) == 3 + 1 + 2 + 2
    for name, value in weights.items():
        fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(value)
        only_inputs = value.dim() == 4 and "input_projections" not in name
        bound = math.sqrt(3 / fan_in) if only_inputs else math.sqrt(6 / (fan_in + fan_out))
        assert 0.95 * bound < value.abs().max() <= bound, name


def test_the_mask_mlp_starts_as_torchs_own_linear_layers(head):
    layers = [part for part in head.decoder.decoder.mask_predictor.modules() if isinstance(part, torch.nn.Linear)]
    assert len(layers) == 3
    for layer in layers:
        bound = 1 / math.sqrt(layer.in_features)
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert 0.8 * bound < layer.bias.abs().max() <= bound


def test_deformable_attention_starts_on_the_grid_and_averages(head):
    attention = head.pixel_decoder.encoder.layers[0].self_attn
    levels, points = attention.n_levels, attention.n_points
    offsets = attention.sampling_offsets.bias.view(HEADS, levels, points, 2)
    # In closed form: eight directions on the square, the n-th point n cells away, alike on every level.
    square = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    for number, direction in enumerate(square):
        for point in range(points):
            wanted = torch.tensor(direction, dtype=torch.float) * (point + 1)
            torch.testing.assert_close(offsets[number, :, point], wanted.expand(levels, 2), atol=1e-5, rtol=0)
    for parameter in (attention.sampling_offsets.weight, *attention.attention_weights.parameters()):
        assert not parameter.any()


def test_the_grids_scale_multiplies_its_distances():
    torch.testing.assert_close(make_offset_grid(4, 3, 4, 0.25), 0.25 * make_offset_grid(4, 3, 4))
    head = MaskHead(CONFIG, CHANNELS, offset_scale=0.25)
    offsets = head.pixel_decoder.encoder.layers[0].self_attn.sampling_offsets.bias
    assert offsets.abs().max() == 1.0
