"""CLIP's ModifiedResNet trunk: three-convolution stem, anti-aliased strides. Parameter names are open_clip's.

Our own, so that dilation and per-layer costs are plain, and no job imports open_clip for it; a test compares all
feature maps with open_clip's.
"""

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3, average pooling where CLIP strides, 1x1; the shortcut pools likewise.

    Without `pools` the 3x3 convolution and the shortcut's convolution stride instead.
    """

    def __init__(self, inputs: int, planes: int, stride: int, dilation: int, pools: bool = True) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        pooled, stepped = (stride, 1) if pools else (1, stride)

        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stepped, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = _pool(pooled)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True)

        # The names "-1", "0" and "1" are CLIP's, whose shortcut without pooling was there first.
        self.downsample: nn.Sequential | None = None
        if inputs != outputs or stride > 1:
            convolution = nn.Conv2d(inputs, outputs, 1, stepped, bias=False)
            layers = OrderedDict([("-1", _pool(pooled)), ("0", convolution), ("1", nn.BatchNorm2d(outputs))])
            self.downsample = nn.Sequential(layers)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """The block's output."""
        inner = self.act(self.bn1(self.conv1(features)))
        inner = self.act(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(self.avgpool(inner)))
        shortcut = features if self.downsample is None else self.downsample(features)
        output: Tensor = self.act(inner + shortcut)
        return output


def _pool(stride: int) -> nn.Module:
    return nn.AvgPool2d(stride) if stride > 1 else nn.Identity()


class Stem(nn.Module):
    """Three 3x3 convolutions, the first of stride 2, and average pooling: stride 4 in all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2

        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self.avgpool = nn.AvgPool2d(2)

    def stem(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """The stem's output."""
        features = self.act(self.bn1(self.conv1(images)))
        features = self.act(self.bn2(self.conv2(features)))
        pooled: Tensor = self.avgpool(self.act(self.bn3(self.conv3(features))))
        return pooled


def make_stage(inputs: int, planes: int, stride: int, dilations: Sequence[int], pools: bool = True) -> nn.Sequential:
    """A stage with one block for each of `dilations`, those of its 3 x 3 convolutions; the first block strides."""
    first = Bottleneck(inputs, planes, stride, dilations[0], pools)
    rest = (Bottleneck(planes * EXPANSION, planes, 1, dilation) for dilation in dilations[1:])
    return nn.Sequential(first, *rest)


def list_dilations(blocks: int, dilation: int) -> list[int]:
    """The dilations of a stage whose stride `dilation` replaces: only blocks after the stride have all of it."""
    return [max(1, dilation // 2), *[dilation] * (blocks - 1)]
