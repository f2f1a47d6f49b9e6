"""DeepLabV3 (with the decoder of DeepLabV3+, as the released code) whose pixels are classified against text.

Where the released network differs from the usual one its parts are settings (`TargetConfig.trunk`, `decoder`, ...).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import TargetConfig
from opentrans.models.classifier import TextClassifier
from opentrans.models.registry import register
from opentrans.models.strips import pixel_argmax, score_argmax
from opentrans.models.target import (
    IGNORE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Batch,
    Normalize,
    Target,
    get_frame,
    pad_images,
)

_ASPP_DROPOUT = 0.1  # DeepLab's own; torchvision's 0.5 is made for its much longer schedule


def make_aspp(channels: int, rates: list[int], width: int) -> ASPP:
    """Torchvision's ASPP; its image-pool branch without batch norm, which fails on a batch of one 1 x 1 map."""
    aspp = ASPP(channels, rates, width)
    pool = aspp.convs[-1]
    pool[1] = nn.Conv2d(channels, width, 1)
    pool[2] = nn.Identity()
    aspp.project[3].p = _ASPP_DROPOUT
    return aspp


def _convolution(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 * rate, dilation=rate, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Decoder(nn.Module):
    """ASPP features joined with a narrow branch of res2 at stride 4, then two 3 x 3 convolutions."""

    def __init__(self, channels: dict[str, int], settings: TargetConfig) -> None:
        super().__init__()
        self.aspp = make_aspp(channels["res5"], list(settings.atrous_rates), settings.width)
        self.low_level = _convolution(channels["res2"], settings.low_level_width, 1)
        self.fuse = nn.Sequential(
            _convolution(settings.width + settings.low_level_width, settings.width, 3),
            _convolution(settings.width, settings.width, 3),
        )

    def forward(self, features: dict[str, Tensor]) -> Float[Tensor, "b c h w"]:
        """Features at stride 4."""
        low = self.low_level(features["res2"])
        high = F.interpolate(self.aspp(features["res5"]), low.shape[-2:], mode="bilinear", align_corners=False)
        fused: Tensor = self.fuse(torch.cat([high, low], dim=1))
        return fused


class ReleasedDecoder(nn.Module):
    """ASPP and decoder of the released code.

    ASPP's image-pool branch is computed there and thrown away, so that it is left out here; res5 itself takes its place
    among the branches. Dropout 0.5 after ASPP, 0.5 and 0.1 after the two 3 x 3 convolutions; convolutions start from
    Kaiming's normal; resizing aligns corners.
    """

    def __init__(self, channels: dict[str, int], settings: TargetConfig) -> None:
        super().__init__()
        deep, width, narrow = channels["res5"], settings.width, settings.low_level_width
        atrous = (_convolution(deep, width, 3, rate) for rate in settings.atrous_rates)
        branches = [_convolution(deep, width, 1), *atrous]
        self.branches = nn.ModuleList(branches)
        self.project = nn.Sequential(*_convolution(len(branches) * width + deep, width, 1), nn.Dropout(0.5))
        self.low_level = _convolution(channels["res2"], narrow, 1)
        self.fuse = nn.Sequential(
            *_convolution(width + narrow, width, 3), nn.Dropout(0.5), *_convolution(width, width, 3), nn.Dropout(0.1)
        )

        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, features: dict[str, Tensor]) -> Float[Tensor, "b c h w"]:
        """Features at stride 4."""
        deep, low = features["res5"], self.low_level(features["res2"])
        high = self.project(torch.cat([*(branch(deep) for branch in self.branches), deep], dim=1))
        high = F.interpolate(high, low.shape[-2:], mode="bilinear", align_corners=True)
        fused: Tensor = self.fuse(torch.cat([high, low], dim=1))
        return fused


@register("deeplabv3")
class DeepLabV3(Target):
    """Every pixel's embedding is compared with the text embeddings and a no-object vector; cross entropy only."""

    def __init__(self, settings: TargetConfig, teacher: ClipSource, train_text: TextEmbeddings) -> None:
        super().__init__()
        self.backbone = ClipBackbone.of_teacher(teacher, settings.output_stride, settings.multi_grid, settings.trunk)
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.released = settings.decoder == "released"
        decoder = ReleasedDecoder if self.released else Decoder
        self.decoder = decoder(self.backbone.channels, settings)
        self.pixel_head = nn.Linear(settings.width, teacher.embed_dim)
        self.classifier = TextClassifier(train_text, no_object_std=settings.no_object_std)
        self.unlabelled, self.compares = settings.unlabelled, settings.compares
        self.divides_loss = settings.divides_loss

    def decode(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c hs ws"]:
        """Features of RGB images (values 0..1) at stride 4: the network without its classifier."""
        features: Tensor = self.decoder(self.backbone(pad_images(self.normalize(images))))
        return features

    def _embed(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b hs ws d"]:
        embeddings: Tensor = self.pixel_head(self.decode(images).permute(0, 2, 3, 1))
        return embeddings

    def network(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b hs ws k1"]:
        """Class logits of RGB images (values 0..1) at stride 4, no-object last, over the training vocabulary."""
        logits: Tensor = self.classifier(self._embed(images))
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Term ``segmentation``: mean over the images of the mean cross entropy over an image's labelled pixels.

        Means are taken image by image, so that the sum over micro-batches is the loss of the global batch. With
        `divides_loss` it is divided once more by the images of the group, what one device holds in the released code.
        """
        frame = get_frame(batch.images)
        logits = self.network(batch.images).permute(0, 3, 1, 2)
        logits = F.interpolate(logits, frame.padded, mode="bilinear", align_corners=self.released)
        logits = logits[..., : frame.image[0], : frame.image[1]]

        # One row for each pixel: its classes lie side by side in memory, which makes the softmax several times faster.
        rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
        labels = batch.labels
        if self.unlabelled == "no_object":
            labels = labels.masked_fill(labels == IGNORE, self.classifier.classes)
        losses = F.cross_entropy(rows, labels.flatten(), ignore_index=IGNORE, reduction="none")

        losses = losses.view(len(labels), -1).sum(1)
        labelled = (labels != IGNORE).flatten(1).sum(1).clamp(min=1)
        loss = (losses / labelled).mean() * batch.share
        return {"segmentation": loss / len(labels) if self.divides_loss else loss}

    @torch.no_grad()
    def predict(
        self, image: Float[Tensor, "3 h w"], classes: TextEmbeddings, size: tuple[int, int]
    ) -> Int[Tensor, "height width"]:
        """Class of the largest cosine at each pixel, or of the largest probability (`TargetConfig.compares`)."""
        classes, frame = classes.to(image.device), get_frame(image)
        embedding = self._embed(image[None])[0]
        if self.compares == "cosines":
            return pixel_argmax(embedding.permute(2, 0, 1), classes, size, self.strip_bytes, frame)

        # Softmax over the classes and no-object, which is dropped, before resizing.
        probabilities = self.classifier(embedding, classes).softmax(-1)[..., :-1]
        return score_argmax(probabilities.permute(2, 0, 1), size, self.strip_bytes, frame)
