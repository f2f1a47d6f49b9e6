"""The initial weights of Mask2Former's head as published, whatever the installed `transformers` would draw.

Source: the initialisation in the published implementations of Mask2Former and Deformable DETR. The library has the same
rules but for convolutions, biases of feed-forward layers and self-attention, and which of its rules it applies to a
head that is no model of its own differs between its versions.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerMLPPredictionHead,
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
)

# The published decoder holds the projections of queries, keys and values in one matrix (3d x d), and Xavier's bound
# counts all its rows: sqrt(6 / 4d) instead of sqrt(6 / 2d).
_GAIN_OF_JOINT_PROJECTION = math.sqrt(1 / 2)


@torch.no_grad()
def initialize_head(head: Any, offset_scale: float = 1.0) -> None:
    """Draw the weights of a pixel decoder and a masked-attention decoder anew, from torch's global generator.

    Args:
        head: has the library's ``pixel_decoder`` and ``decoder``.
        offset_scale: as of `make_offset_grid`.
    """
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            # Caffe2's Xavier: the variance counts the inputs only.
            nn.init.kaiming_uniform_(module.weight, a=1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding | nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()

    nn.init.normal_(head.pixel_decoder.level_embed)
    for projection in head.pixel_decoder.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)

    # Rules of whole modules come last: they replace what their parts got above.
    for module in head.modules():
        if isinstance(module, Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
            _initialize_deformable_attention(module, offset_scale)
        elif isinstance(module, Mask2FormerPixelDecoderEncoderLayer):
            _initialize_feedforward(module)
        elif isinstance(module, Mask2FormerMaskedAttentionDecoderLayer):
            _initialize_feedforward(module)
            _initialize_query_attention(module)
        elif isinstance(module, Mask2FormerMLPPredictionHead):
            for part in module.modules():
                if isinstance(part, nn.Linear):
                    part.reset_parameters()  # the mask MLP has torch's own start: smaller weights, some bias


def _initialize_feedforward(layer: Any) -> None:
    """Xavier's weights, and the bias that torch gives a linear layer."""
    for linear in (layer.fc1, layer.fc2):
        linear.reset_parameters()
        nn.init.xavier_uniform_(linear.weight)


def _initialize_query_attention(layer: Any) -> None:
    """Attention of queries to the maps and to each other; biases are zero already, or become so."""
    nn.init.xavier_uniform_(layer.cross_attn.in_proj_weight)
    nn.init.zeros_(layer.cross_attn.in_proj_bias)
    for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
        nn.init.xavier_uniform_(projection.weight, gain=_GAIN_OF_JOINT_PROJECTION)


def make_offset_grid(heads: int, levels: int, points: int, scale: float = 1.0) -> torch.Tensor:
    """Where deformable attention looks at first: head h in direction 2 pi h / heads, its points 1, 2, ... cells away.

    Directions end on the square around the origin, as published. `scale` multiplies the distances: maps of a few cells
    are left at once by offsets of whole cells.

    Returns:
        x, y in cells, shape (heads, levels, points, 2).
    """
    angles = torch.arange(heads) * (2 * math.pi / heads)
    directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
    directions = directions / directions.abs().amax(dim=-1, keepdim=True)
    distances = scale * torch.arange(1, points + 1)
    return (directions[:, None, None] * distances[:, None]).expand(heads, levels, points, 2)


def _initialize_deformable_attention(module: Any, offset_scale: float) -> None:
    """Offsets start as the grid and attention as the mean, whatever the input; values are Xavier's already."""
    grid = make_offset_grid(module.n_heads, module.n_levels, module.n_points, offset_scale)
    nn.init.zeros_(module.sampling_offsets.weight)
    module.sampling_offsets.bias.copy_(grid.reshape(-1))
    nn.init.zeros_(module.attention_weights.weight)
    nn.init.zeros_(module.attention_weights.bias)
