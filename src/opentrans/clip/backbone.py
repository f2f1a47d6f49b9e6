"""The CLIP ResNet trunk as a segmentation backbone, and CLIP's attention pool over masks."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.resnet import EXPANSION, Stem, list_dilations, make_stage
from opentrans.clip.weights import Architecture, ClipSource
from opentrans.config import TrunkStyle
from opentrans.errors import UserError

STEM_FIRST = "conv1.weight"
_POOL = "attnpool."
STAGES = ("res2", "res3", "res4", "res5")


class ClipBackbone(Stem):
    """CLIP's ResNet without its attention pool; parameter names are those of open_clip's visual tower.

    `output_stride` 8 or 16 replaces the last strides by dilation, as DeepLab does. `multi_grid` are the dilations of
    the last stage's blocks where they are not those. `channels` counts the channels of each feature map.

    Style `released` is the network into which the released code loads CLIP's weights for DeepLabV3: no ReLU between the
    stem's convolutions, its pooling before the one that is left, and strides in the 3 x 3 convolutions and shortcuts
    where CLIP pools. CLIP's weights were not trained for it.
    """

    def __init__(
        self,
        architecture: Architecture,
        output_stride: int = 32,
        multi_grid: Sequence[int] | None = None,
        style: TrunkStyle = "clip",
    ) -> None:
        vision = architecture["vision_cfg"]
        width, blocks = vision["width"], vision["layers"]
        super().__init__(width)
        self.style, pools = style, style == "clip"

        strides = [1, 2, *(1 if output_stride < stride else 2 for stride in (16, 32))]
        wanted = [1, 1, *(max(1, stride // output_stride) for stride in (16, 32))]
        dilations = [list_dilations(count, dilation) for count, dilation in zip(blocks, wanted, strict=True)]
        if multi_grid is not None:
            if len(multi_grid) != blocks[3]:
                problem = f"{len(multi_grid)} dilations, the trunk's last stage has {blocks[3]} blocks"
                raise UserError("multi_grid", problem, "give one for each block, or null")
            dilations[3] = list(multi_grid)

        self.layer1 = make_stage(width, width, strides[0], dilations[0], pools)
        self.layer2 = make_stage(width * 4, width * 2, strides[1], dilations[1], pools)
        self.layer3 = make_stage(width * 8, width * 4, strides[2], dilations[2], pools)
        self.layer4 = make_stage(width * 16, width * 8, strides[3], dilations[3], pools)
        self.channels = {stage: width * EXPANSION * 2**level for level, stage in enumerate(STAGES)}

    @classmethod
    def of_teacher(
        cls,
        teacher: ClipSource,
        output_stride: int = 32,
        multi_grid: Sequence[int] | None = None,
        style: TrunkStyle = "clip",
    ) -> "ClipBackbone":
        """A backbone that starts from the teacher's weights (dense)."""
        backbone = cls(teacher.architecture, output_stride, multi_grid, style)
        backbone.load_state_dict({name: teacher.visual[name] for name in backbone.state_dict()})
        return backbone

    def stem(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """The stem's output."""
        if self.style == "clip":
            return super().stem(images)
        features = self.bn2(self.conv2(self.bn1(self.conv1(images))))
        pooled: Tensor = self.act(self.avgpool(self.bn3(self.conv3(features))))
        return pooled

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Feature maps res2..res5 of normalised images; strides 4, 8, 16, 32 (less where dilated)."""
        current = self.stem(images)
        features: dict[str, Tensor] = {}
        for stage, layer in zip(STAGES, (self.layer1, self.layer2, self.layer3, self.layer4), strict=True):
            current = layer(current)
            features[stage] = current
        return features


def get_prunable(backbone: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning ranks: every convolution but the stem's first (Sec. 3.2, released code)."""
    return {name: weight for name, weight in get_convolutions(backbone).items() if name != STEM_FIRST}


def get_convolutions(backbone: nn.Module) -> dict[str, nn.Parameter]:
    """All convolution weights of a backbone by parameter name, in network order."""
    parameters = dict(backbone.named_parameters())
    layers = (name for name, layer in backbone.named_modules() if isinstance(layer, nn.Conv2d))
    return {f"{name}.weight": parameters[f"{name}.weight"] for name in layers}


class _PoolWeights(nn.Module):
    """The parameters of CLIP's attention pool under open_clip's names."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty_like(weights["positional_embedding"]))
        width = weights["q_proj.weight"].shape[1]
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, weights["c_proj.weight"].shape[0])
        self.load_state_dict(weights)


class MaskedAttentionPool(nn.Module):
    """CLIP's attention pool with the keys restricted to a mask: image regions in CLIP's embedding space.

    Style `clip`: the mean token of a region is the mean over its own positions and attends to itself too; the
    positional embedding is resized bicubically. With a mask of ones at CLIP's own size this is CLIP's pool.
    Style `fcclip` is FC-CLIP's arithmetic: the mean over the *whole* map is the query of every region, only the
    positions inside the mask are keys (not the mean itself), and positional embeddings are resized bilinearly.
    """

    def __init__(self, teacher: ClipSource, style: Literal["clip", "fcclip"] = "clip") -> None:
        super().__init__()
        self.style = style
        weights = {name.removeprefix(_POOL): value for name, value in teacher.visual.items() if name.startswith(_POOL)}
        self.pool = _PoolWeights(weights)

        # One positional embedding belongs to the mean token, the others to a square grid.
        positions, width = weights["positional_embedding"].shape
        self.side = round((positions - 1) ** 0.5)
        self.heads = width // teacher.architecture["vision_cfg"].get("head_width", 64)

        self.requires_grad_(False)

    def _get_positions(self, height: int, width: int) -> Float[Tensor, "hw c"]:
        """The grid's positional embeddings, resized to `height` x `width`."""
        grid: Tensor = self.pool.positional_embedding[1:].unflatten(0, (self.side, self.side)).permute(2, 0, 1)[None]
        if (height, width) != (self.side, self.side):
            mode = "bicubic" if self.style == "clip" else "bilinear"
            grid = F.interpolate(grid, (height, width), mode=mode, align_corners=False)
        return grid[0].flatten(1).T

    def forward(self, features: Float[Tensor, "b c h w"], masks: Float[Tensor, "b q h w"]) -> Float[Tensor, "b q d"]:
        """Pool `features` over soft or hard `masks` (positions above 0.5 count; an empty mask takes all).

        Returns embeddings that are not normalised.
        """
        inside = (masks > 0.5).flatten(2)
        inside = inside | ~inside.any(-1, keepdim=True)
        tokens = features.flatten(2).transpose(1, 2)

        averaged = inside if self.style == "clip" else torch.ones_like(inside)
        means = averaged.to(tokens.dtype) / averaged.sum(-1, keepdim=True) @ tokens + self.pool.positional_embedding[0]

        # Only now: the mean token has a positional embedding of its own, so it is taken without the others'.
        tokens = tokens + self._get_positions(*features.shape[-2:])
        return self._attend(means, tokens, inside)

    def _attend(
        self, means: Float[Tensor, "b q c"], tokens: Float[Tensor, "b n c"], inside: Bool[Tensor, "b q n"]
    ) -> Float[Tensor, "b q d"]:
        """Each mean token attends to the positions inside its mask, in style `clip` to itself as well."""
        query = self._split_heads(self.pool.q_proj(means))
        query = query / query.shape[-1] ** 0.5
        keys = self._split_heads(self.pool.k_proj(tokens))
        values = self._split_heads(self.pool.v_proj(tokens))
        scores = torch.einsum("bqhd,bnhd->bqhn", query, keys).masked_fill(~inside[:, :, None], float("-inf"))

        if self.style == "fcclip":
            pooled = torch.einsum("bqhn,bnhd->bqhd", scores.softmax(-1), values)
        else:
            # The mean token comes first, as in CLIP's own pool.
            own_key = self._split_heads(self.pool.k_proj(means))
            own_value = self._split_heads(self.pool.v_proj(means))
            scores = torch.cat([(query * own_key).sum(-1, keepdim=True), scores], dim=-1).softmax(-1)
            pooled = torch.einsum("bqhn,bnhd->bqhd", scores[..., 1:], values) + scores[..., :1] * own_value

        return F.linear(pooled.flatten(2), self.pool.c_proj.weight, self.pool.c_proj.bias)

    def _split_heads(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n heads channels"]:
        heads: Tensor = tokens.unflatten(-1, (self.heads, -1))
        return heads
