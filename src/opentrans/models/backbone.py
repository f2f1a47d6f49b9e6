"""The CLIP ResNet trunk as a segmentation backbone, and CLIP's attention pool over masks."""

from typing import Literal

import open_clip.modified_resnet as clip_resnet
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.teacher import Architecture, Teacher

STEM_FIRST = "conv1.weight"
STAGES = ("res2", "res3", "res4", "res5")


class ClipBackbone(clip_resnet.ModifiedResNet):
    """CLIP's ResNet without its attention pool; parameter names are those of open_clip's visual tower.

    `output_stride` 8 or 16 replaces the last strides by dilation, as DeepLab does.
    """

    def __init__(self, architecture: Architecture, output_stride: int = 32) -> None:
        vision = architecture["vision_cfg"]
        width = vision["width"]
        heads = width * 32 // vision.get("head_width", 64)
        super().__init__(vision["layers"], architecture["embed_dim"], heads, vision["image_size"], width)
        del self.attnpool
        self.channels = {stage: width * 4 * 2**level for level, stage in enumerate(STAGES)}
        for stride, stage in ((32, self.layer4), (16, self.layer3)):
            if output_stride < stride:
                _dilate(stage, stride // output_stride)

    @classmethod
    def of_teacher(cls, teacher: Teacher, output_stride: int = 32) -> "ClipBackbone":
        """A backbone that starts from the teacher's weights (dense)."""
        backbone = cls(teacher.architecture, output_stride)
        visual = teacher.clip.visual.state_dict()
        backbone.load_state_dict({name: visual[name] for name in backbone.state_dict()})
        return backbone

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Feature maps res2..res5 of normalised images; strides 4, 8, 16, 32 (less where dilated)."""
        features, current = {}, self.stem(images)
        for name, layer in zip(STAGES, (self.layer1, self.layer2, self.layer3, self.layer4), strict=True):
            features[name] = current = layer(current)
        return features

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze all parameters."""
        self.requires_grad_(False)


def _dilate(stage: nn.Sequential, dilation: int) -> None:
    """Take the stride out of `stage`; blocks after the stride's place are dilated instead (as in DeepLab)."""
    for index, block in enumerate(stage):
        assert isinstance(block, clip_resnet.Bottleneck)
        block.avgpool = nn.Identity()
        if block.downsample is not None:
            block.downsample[0] = nn.Identity()
        rate = dilation if index else max(1, dilation // 2)
        block.conv2.dilation = block.conv2.padding = (rate, rate)


def get_prunable(backbone: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning ranks: every convolution but the stem's first (Sec. 3.2, released code)."""
    return {name: weight for name, weight in get_convolutions(backbone).items() if name != STEM_FIRST}


def get_convolutions(backbone: nn.Module) -> dict[str, nn.Parameter]:
    """All convolution weights of a backbone by parameter name, in network order."""
    parameters = dict(backbone.named_parameters())
    layers = (name for name, layer in backbone.named_modules() if isinstance(layer, nn.Conv2d))
    return {f"{name}.weight": parameters[f"{name}.weight"] for name in layers}


class MaskedAttentionPool(nn.Module):
    """CLIP's attention pool with the keys restricted to a mask: image regions in CLIP's embedding space.

    Style `clip`: the mean token of a region is the mean over its own positions and attends to itself too; the
    positional embedding is resized bicubically. With a mask of ones at CLIP's own size this is CLIP's pool.
    Style `fcclip` is FC-CLIP's arithmetic: the mean over the *whole* map is the query of every region, only the
    positions inside the mask are keys (not the mean itself), and positional embeddings are resized bilinearly.
    """

    def __init__(self, teacher: Teacher, style: Literal["clip", "fcclip"] = "clip") -> None:
        super().__init__()
        self.style = style
        pool = teacher.clip.visual.attnpool
        dimension, heads = pool.positional_embedding.shape[1], pool.num_heads
        side = round((pool.positional_embedding.shape[0] - 1) ** 0.5)
        self.pool = clip_resnet.AttentionPool2d(side, dimension, heads, pool.c_proj.out_features)
        self.pool.load_state_dict(pool.state_dict())
        self.side, self.heads = side, heads
        self.requires_grad_(False)

    def _positions(self, height: int, width: int) -> Float[Tensor, "hw c"]:
        grid: Tensor = self.pool.positional_embedding[1:].unflatten(0, (self.side, self.side)).permute(2, 0, 1)[None]
        if (height, width) != (self.side, self.side):
            mode = "bicubic" if self.style == "clip" else "bilinear"
            grid = F.interpolate(grid, (height, width), mode=mode, align_corners=False)
        return grid[0].flatten(1).T

    def forward(self, features: Float[Tensor, "b c h w"], masks: Float[Tensor, "b q h w"]) -> Float[Tensor, "b q d"]:
        """Pool `features` over soft or hard `masks` (positions above 0.5 count; an empty mask takes all).

        Returns embeddings that are not normalised.
        """
        inside = masks > 0.5
        inside = (inside | ~inside.flatten(2).any(-1)[..., None, None]).flatten(2)
        tokens = features.flatten(2).transpose(1, 2)
        averaged = inside if self.style == "clip" else torch.ones_like(inside)
        means = averaged.to(tokens.dtype) / averaged.sum(-1, keepdim=True) @ tokens + self.pool.positional_embedding[0]
        tokens = tokens + self._positions(*features.shape[-2:])
        return self._attend(means, tokens, inside)

    def _attend(self, means: Tensor, tokens: Tensor, inside: Tensor) -> Tensor:
        """Each mean token attends to the positions inside its mask, in style `clip` to itself as well."""
        pool = self.pool
        query = pool.q_proj(means).unflatten(-1, (self.heads, -1))
        query = query / query.shape[-1] ** 0.5
        keys, values = (layer(tokens).unflatten(-1, (self.heads, -1)) for layer in (pool.k_proj, pool.v_proj))
        scores = torch.einsum("bqhd,bnhd->bqhn", query, keys).masked_fill(~inside[:, :, None], float("-inf"))
        if self.style == "fcclip":
            pooled = torch.einsum("bqhn,bnhd->bqhd", scores.softmax(-1), values)
            return F.linear(pooled.flatten(2), pool.c_proj.weight, pool.c_proj.bias)
        own_key, own_value = (layer(means).unflatten(-1, (self.heads, -1)) for layer in (pool.k_proj, pool.v_proj))
        scores = torch.cat([(query * own_key).sum(-1, keepdim=True), scores], dim=-1).softmax(-1)
        pooled = torch.einsum("bqhn,bnhd->bqhd", scores[..., 1:], values) + scores[..., :1] * own_value
        return F.linear(pooled.flatten(2), pool.c_proj.weight, pool.c_proj.bias)
