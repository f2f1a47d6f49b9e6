import copy

import pytest
import torch
from torch.nn import functional as F

from opentrans.clip.backbone import STAGES, ClipBackbone, MaskedAttentionPool, get_convolutions, get_prunable
from opentrans.errors import UserError


def test_the_backbone_computes_what_clips_trunk_computes(teacher):
    images, teacher = torch.rand(2, 3, 64, 64), copy.deepcopy(teacher)
    for weight in teacher.clip.visual.parameters():
        weight.uniform_(-0.5, 1.0)  # open_clip starts the last norm of each block at zero, which hides the block
    stages = teacher.clip.visual.forward_intermediates(images, intermediates_only=True)["image_intermediates"][1:]
    features = ClipBackbone.of_teacher(teacher).eval()(images)
    for name, expected in zip(STAGES, stages, strict=True):
        torch.testing.assert_close(features[name], expected)


@pytest.mark.parametrize(("output_stride", "sides"), [(32, (4, 2)), (16, (4, 4)), (8, (8, 8))])
def test_output_stride_replaces_strides_by_dilation(teacher, output_stride, sides):
    features = ClipBackbone.of_teacher(teacher, output_stride)(torch.rand(1, 3, 64, 64))
    assert (features["res4"].shape[-1], features["res5"].shape[-1]) == sides
    assert features["res2"].shape == (1, 32, 16, 16)


def test_multi_grid_gives_each_block_of_the_last_stage_its_dilation(teacher):
    architecture = teacher.architecture | {"vision_cfg": teacher.architecture["vision_cfg"] | {"layers": [1, 2, 1, 3]}}
    usual, grid = ClipBackbone(architecture, 16), ClipBackbone(architecture, 16, [2, 4, 8])
    dilations = [[block.conv2.dilation for block in backbone.layer4] for backbone in (usual, grid)]
    assert dilations == [[(1, 1), (2, 2), (2, 2)], [(2, 2), (4, 4), (8, 8)]]
    maps = grid(torch.rand(1, 3, 64, 64))
    assert [maps[stage].shape[-1] for stage in STAGES] == [16, 8, 4, 4]
    assert {block.conv2.dilation for block in grid.layer2} == {(1, 1)}
    with pytest.raises(UserError, match="multi_grid: 2 dilations, the trunk's last stage has 3 blocks"):
        ClipBackbone(architecture, 16, [2, 4])


def test_pruning_leaves_out_only_the_stems_first_convolution(teacher):
    backbone = ClipBackbone.of_teacher(teacher)
    assert set(get_convolutions(backbone)) - set(get_prunable(backbone)) == {"conv1.weight"}


def test_a_mask_of_ones_at_clips_size_is_clips_own_pool(teacher):
    features = torch.randn(2, 256, 2, 2)
    pooled = MaskedAttentionPool(teacher)(features, torch.ones(2, 3, 2, 2))
    expected = teacher.clip.visual.attnpool(features)
    torch.testing.assert_close(pooled, expected[:, None].expand(-1, 3, -1), atol=1e-5, rtol=1e-4)


def test_fcclips_pool_attends_from_the_mean_to_masked_positions_only(teacher):
    features, masks = torch.randn(1, 256, 3, 5), torch.rand(1, 4, 3, 5)
    pool = teacher.clip.visual.attnpool
    grid = pool.positional_embedding[1:].T.reshape(1, 256, 2, 2)
    positions = F.interpolate(grid, (3, 5), mode="bilinear", align_corners=False)[0].flatten(1).T
    tokens = features[0].flatten(1).T
    query = pool.q_proj(tokens.mean(0) + pool.positional_embedding[0])
    for mask, pooled in zip(masks[0], MaskedAttentionPool(teacher, "fcclip")(features, masks)[0], strict=True):
        chosen = (tokens + positions)[mask.flatten() > 0.5]
        heads = [slice(start, start + 256 // pool.num_heads) for start in range(0, 256, 256 // pool.num_heads)]
        parts = []
        for head in heads:
            scores = pool.k_proj(chosen)[:, head] @ query[head] / (256 / pool.num_heads) ** 0.5
            parts.append(scores.softmax(0) @ pool.v_proj(chosen)[:, head])
        torch.testing.assert_close(pooled, pool.c_proj(torch.cat(parts)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("style", ["clip", "fcclip"])
def test_an_empty_mask_pools_the_whole_image(teacher, style):
    features, pool = torch.randn(1, 256, 4, 4), MaskedAttentionPool(teacher, style)
    empty, full = pool(features, torch.zeros(1, 1, 4, 4)), pool(features, torch.ones(1, 1, 4, 4))
    torch.testing.assert_close(empty, full)
