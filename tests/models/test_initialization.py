import math

import pytest
import torch
from model_samples import CLASSES, make_settings
from transformers import Mask2FormerModel, ResNetConfig

from opentrans.models.initialization import make_offset_grid
from opentrans.models.mask2former import MaskHead, make_config

WIDTH, HEADS, FEEDFORWARD = 64, 8, 128
CHANNELS = {"res2": 32, "res3": 64, "res4": 128, "res5": 256}
HIDDEN = {"feedforward": FEEDFORWARD, "encoder_feedforward": FEEDFORWARD}
SETTINGS = {"width": WIDTH, "heads": HEADS, "queries": 40, **HIDDEN}
CONFIG = make_config(make_settings("han", **SETTINGS), CLASSES)
# Of these convolutions the library draws a normal of fixed width where the published code has Xavier's.
CONVOLUTIONS = ("input_projections", "adapter_", "layer_", "mask_projection")


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


def find_published_bound(name, value):
    """The bound of the uniform law that the published code draws where the library's law is another; else None."""
    inside = name.removeprefix("pixel_decoder.")
    fans = torch.nn.init._calculate_fan_in_and_fan_out(value) if value.dim() > 1 else (0, 0)
    if inside.startswith(CONVOLUTIONS) and value.dim() > 1:
        return math.sqrt(6 / sum(fans)) if "input_projections" in name else math.sqrt(3 / fans[0])
    if ".fc" in name and name.endswith("weight"):
        return math.sqrt(6 / sum(fans))
    if ".fc1.bias" in name or ".fc2.bias" in name:
        return 1 / math.sqrt(WIDTH if ".fc1." in name else FEEDFORWARD)
    if "self_attn" in name and name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
        return math.sqrt(6 / (4 * WIDTH))
    return None


def test_the_head_has_the_librarys_parameters(head, library):
    assert {name: value.shape for name, value in head.named_parameters()} == {
        name: value.shape for name, value in library.items()
    }


def test_every_kind_of_weight_starts_as_the_librarys_own_model(head, library):
    compared = 0
    for name, parameter in head.named_parameters():
        value = parameter.detach()
        if find_published_bound(name, value) is not None:
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


def test_what_the_library_draws_otherwise_follows_the_published_law(head):
    drawn = 0
    for name, parameter in head.named_parameters():
        value = parameter.detach()
        bound = find_published_bound(name, value)
        if bound is not None:
            drawn += 1
            lowest = 0.95 if value.dim() > 1 else 0.8  # of fewer numbers the largest is smaller
            assert lowest * bound < value.abs().max() <= bound, name
            assert value.std() == pytest.approx(bound / math.sqrt(3), rel=4 / math.sqrt(value.numel())), name
    # Six convolutions; two feed-forward layers in each layer; three projections in each of the decoder's.
    assert drawn == 6 + 4 * (CONFIG.encoder_layers + CONFIG.decoder_layers - 1) + 3 * (CONFIG.decoder_layers - 1)


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
