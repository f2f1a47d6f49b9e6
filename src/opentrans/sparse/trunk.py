"""A subnetwork's trunk at inference: pruned convolutions cost what is left of them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.models.backbone import STAGES, ClipBackbone
from opentrans.models.resnet import Bottleneck
from opentrans.sparse.build import Kernel, load_kernel
from opentrans.sparse.convolution import Layout, SparseConv, fold

MAX_DENSITY = 0.35  # above, the dense convolution is faster


def sparsify(backbone: ClipBackbone, max_density: float = MAX_DENSITY) -> nn.Module:
    """`backbone` for inference on the CPU, with what pruning left of its convolutions.

    Returns:
        A module with the backbone's call (images -> maps res2..res5) and `channels`, without gradients. Where no
        kernel can be compiled, the backbone is on another device, or more than `max_density` of its prunable weights
        remain, it is the backbone itself.
    """
    weights = [layer.weight for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    density = sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
    kernel = load_kernel() if weights[0].device.type == "cpu" and density <= max_density else None
    return backbone if kernel is None else SparseTrunk(backbone, kernel)


class SparseTrunk(nn.Module):
    """The trunk with batch norms folded in; outputs equal the dense trunk's in evaluation mode up to rounding."""

    def __init__(self, backbone: ClipBackbone, kernel: Kernel) -> None:
        super().__init__()
        self.channels = backbone.channels
        self.first = fold(backbone.conv1, backbone.bn1)
        self.stem = [_sparse(kernel, backbone.conv2, backbone.bn2), _sparse(kernel, backbone.conv3, backbone.bn3)]
        stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
        self.stages = [[_Block(kernel, block) for block in stage if isinstance(block, Bottleneck)] for stage in stages]

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Feature maps res2..res5 of normalised images."""
        maps = [self._run(image) for image in images]
        return {stage: torch.stack([found[stage] for found in maps]) for stage in STAGES}

    def _run(self, image: Float[Tensor, "3 h w"]) -> dict[str, Tensor]:
        first = F.conv2d(image[None].float(), *self.first, stride=2, padding=1)[0].relu_()
        buffer, layout = _enter(first, 1)
        buffer, layout = self.stem[0](buffer, layout, 1, True)
        buffer, layout = self.stem[1](buffer, layout, 0, True)
        buffer, layout = _pool(buffer, layout, 2)
        maps = {}
        for name, blocks in zip(STAGES, self.stages, strict=True):
            for block in blocks:
                buffer, layout = block(buffer, layout)
            maps[name] = layout.view(buffer)
        return maps


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

    def __call__(self, source: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        inner, bordered = self.layers[0](source, layout, self.layers[1].shift, True)
        inner, plain = self.layers[1](inner, bordered, 0, True)
        inner, plain = _pool(inner, plain, self.stride)
        if self.shortcut is not None:
            source, layout = _pool(source, layout, self.stride)
            source, layout = self.shortcut(source, layout, 0, False)
        return self.layers[2](inner, plain, 0, True, residual=source)


def _sparse(kernel: Kernel, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> SparseConv:
    return SparseConv(kernel, *fold(convolution, norm), dilation=int(convolution.dilation[0]))


def _enter(maps: Float[Tensor, "c h w"], border: int) -> tuple[Tensor, Layout]:
    layout = Layout(maps.shape[1], maps.shape[2], border)
    buffer = layout.empty(len(maps))
    layout.view(buffer).copy_(maps)
    return buffer, layout


def _pool(source: Tensor, layout: Layout, stride: int) -> tuple[Tensor, Layout]:
    if stride == 1:
        return source, layout
    return _enter(F.avg_pool2d(layout.view(source), stride), 0)
