"""What a target is: build, loss, predict. A fourth target is one more file that registers itself here."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings
from opentrans.models.strips import STRIP_BYTES
from opentrans.models.tiles import Frame

IGNORE = -1
_DIVISOR = 32  # images are padded to multiples of this, so that every level lies on the same grid
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass
class Regions:
    """The annotated regions of one training crop: masks, classes and the teacher's embeddings R(I, M).

    `known` tells which rows of `embeddings` hold one (a region cut down by the crop has none).
    """

    masks: Bool[Tensor, "n h w"]
    classes: Int[Tensor, " n"]
    embeddings: Float[Tensor, "n d"]
    known: Bool[Tensor, " n"]


@dataclass
class Batch:
    """A (micro-)batch: RGB images with values 0..1, label maps with `IGNORE`, and regions of each image.

    `global_regions` counts the regions of the whole global batch (mask losses are divided by it, so that
    gradients do not depend on the number of devices); `share` is this part's share of the global images, and
    `global_described` counts the global batch's images that have a region with a teacher's embedding (None: this
    batch is the global one). `words` are text embeddings of nouns of each image's caption, for the grounding loss.
    """

    images: Float[Tensor, "b 3 h w"]
    labels: Int[Tensor, "b h w"]
    regions: list[Regions]
    global_regions: int
    share: float
    global_described: int | None = None
    words: "list[Float[Tensor, '_w d']] | None" = None


class Target(nn.Module, ABC):
    """A segmentation framework around a CLIP backbone.

    `backbone` is where a subnetwork goes and `normalize` prepares its input. `trains_backbone` is False where the
    framework keeps it frozen.
    `strip_bytes` bounds the memory that `predict` takes for scores at full size. `undecayed` names parameters that the
    framework exempts from weight decay, besides those of norm layers and embeddings.
    """

    backbone: ClipBackbone
    normalize: "Normalize"
    trains_backbone: bool = True
    undecayed: frozenset[str] = frozenset()
    strip_bytes: int = STRIP_BYTES

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted scalar loss terms; training minimises their sum.

        The sums over the micro-batches of a global batch are the loss of the global batch: a term that is a
        mean over images is multiplied by `batch.share`, a mask term is divided by `batch.global_regions`.
        """

    @abstractmethod
    def predict(
        self, image: Float[Tensor, "3 h w"], classes: TextEmbeddings, size: tuple[int, int]
    ) -> Int[Tensor, "height width"]:
        """Segment one RGB image (values 0..1) with any classes; class indices at `size` (height, width)."""


class Normalize(nn.Module):
    """Subtract `mean`, divide by `std` (RGB, values 0..1)."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
        """Normalised images."""
        return (images - self.mean) / self.std


def pad_images(images: Shaped[Tensor, "*b h w"]) -> Shaped[Tensor, "*b hp wp"]:
    """Pad (normalised) images or masks with zeros at the right and the bottom to multiples of 32."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % _DIVISOR, 0, -height % _DIVISOR))


def get_frame(images: Shaped[Tensor, "*b h w"]) -> Frame:
    """What the maps of `images` cover after `pad_images`."""
    height, width = images.shape[-2:]
    return Frame((height + -height % _DIVISOR, width + -width % _DIVISOR), (height, width))
