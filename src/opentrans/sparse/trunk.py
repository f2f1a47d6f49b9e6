"""A subnetwork's trunk at inference: pruned convolutions cost what is left of them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import STAGES, ClipBackbone
from opentrans.clip.resnet import Bottleneck
from opentrans.sparse.build import Kernel, load_kernel
from opentrans.sparse.convolution import SparseConv, fold
from opentrans.sparse.maps import Layout, Maps, Memory

MAX_DENSITY = 0.5  # above, the dense convolution is faster


def sparsify(backbone: ClipBackbone, max_density: float = MAX_DENSITY) -> nn.Module:
    """`backbone` for inference on the CPU, with what pruning left of its convolutions.

    Returns:
        A module with the backbone's call (images -> maps res2..res5) and `channels`, without gradients. Where no
        kernel can be compiled, the backbone is on another device or not in CLIP's own style, or more than
        `max_density` of its prunable weights remain, it is the backbone itself.
    """
    weights = [layer.weight for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    density = sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)
    if weights[0].device.type != "cpu" or backbone.style != "clip" or density > max_density:
        return backbone

    kernel = load_kernel()
    return backbone if kernel is None else SparseTrunk(backbone, kernel)


class SparseTrunk(nn.Module):
    """The trunk with batch norms folded in; outputs equal the dense trunk's in evaluation mode up to rounding."""

    def __init__(self, backbone: ClipBackbone, kernel: Kernel) -> None:
        super().__init__()
        self.channels = backbone.channels
        self.memory = Memory()

        # The kernel has no stride: the first convolution runs over the image's four phases.
        weight, bias = fold(backbone.conv1, backbone.bn1)
        self.stem = [
            SparseConv(kernel, _split_weight(weight), bias, dilation=1),
            _sparse(kernel, backbone.conv2, backbone.bn2),
            _sparse(kernel, backbone.conv3, backbone.bn3),
        ]

        stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
        self.stages = [[_Block(kernel, block) for block in stage if isinstance(block, Bottleneck)] for stage in stages]

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Feature maps res2..res5 of normalised images."""
        maps = [self._run(image) for image in images]
        self.memory.drop_unused()
        if len(maps) == 1:
            return {stage: features[None] for stage, features in maps[0].items()}  # no copy
        return {stage: torch.stack([features[stage] for features in maps]) for stage in STAGES}

    def _run(self, image: Float[Tensor, "3 h w"]) -> dict[str, Tensor]:
        maps = _split(image, self.memory)
        for convolution, border in zip(self.stem, (1, 1, 0), strict=True):
            maps = convolution(maps, self.memory, border, True)

        # The stem ends with a mean of 2 x 2 pixels, which the first block's convolutions take over.
        features, pool = {}, 2
        for name, blocks in zip(STAGES, self.stages, strict=True):
            for block in blocks:
                maps = block(maps, self.memory, pool)
                pool = 1
            features[name] = maps.view()
        return features


class _Block:
    """A bottleneck; maps between blocks have no border."""

    def __init__(self, kernel: Kernel, block: Bottleneck) -> None:
        self.layers = [
            _sparse(kernel, convolution, norm)
            for convolution, norm in ((block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3))
        ]

        kernel_size = block.avgpool.kernel_size if isinstance(block.avgpool, nn.AvgPool2d) else 1
        self.stride = kernel_size if isinstance(kernel_size, int) else kernel_size[0]

        self.shortcut: SparseConv | None = None
        if block.downsample is not None:
            convolution, norm = block.downsample[1], block.downsample[2]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            self.shortcut = _sparse(kernel, convolution, norm)

    def __call__(self, source: Maps, memory: Memory, pool: int) -> Maps:
        inner = self.layers[0](source, memory, self.layers[1].shift, True, pool=pool)
        inner = self.layers[1](inner, memory, 0, True)
        residual = source if self.shortcut is None else self.shortcut(source, memory, 0, False, pool=pool * self.stride)
        return self.layers[2](inner, memory, 0, True, residual=residual, pool=self.stride)


def _sparse(kernel: Kernel, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> SparseConv:
    return SparseConv(kernel, *fold(convolution, norm), dilation=int(convolution.dilation[0]))


def _split(image: Float[Tensor, "3 h w"], memory: Memory) -> Maps:
    """The image's four phases (even and odd rows and columns) as channels."""
    channels, height, width = image.shape
    maps = memory.take(Layout(4 * channels, math.ceil(height / 2), math.ceil(width / 2), 1))
    phases = maps.view().unflatten(0, (channels, 2, 2))

    for down in (0, 1):
        for right in (0, 1):
            phase = image[:, down::2, right::2]
            phases[:, down, right, : phase.shape[1], : phase.shape[2]] = phase

    # Beyond the last row and column of an odd size; the memory holds anything there.
    if height % 2:
        phases[:, 1, :, -1] = 0
    if width % 2:
        phases[:, :, 1, :, -1] = 0

    return maps


def _split_weight(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "o j 3 3"]:
    """Of a convolution of stride 2, padding 1: the weight of stride 1 over `_split`'s phases."""
    wide = F.pad(weight, (1, 2, 1, 2))  # taps -2..3, from the pixel under the kernel's centre
    taps = wide.reshape(*wide.shape[:2], 3, 2, 3, 2)  # (o, i, down, its phase, right, its phase)
    return taps.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
