"""What the search trains: CLIP's trunk, read out through CLIP's own frozen pool; and its losses."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone, MaskedAttentionPool
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.distillation import DistillationLoss, Triple
from opentrans.models.target import IGNORE, IMAGENET_MEAN, IMAGENET_STD, Batch, Normalize


class Student(nn.Module):
    """A trainable backbone whose region embeddings V_i come from CLIP's frozen pool over the annotated masks.

    No target framework takes part, so the subnetwork depends on none. Images are normalised as the released code
    does for the student. Only the backbone trains, its batch-norm statistics follow.
    """

    def __init__(self, teacher: ClipSource, output_stride: int) -> None:
        super().__init__()
        self.backbone = ClipBackbone.of_teacher(teacher, output_stride)
        self.pool = MaskedAttentionPool(teacher)
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)

    def extract_features(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """The backbone's last feature map (res5) of RGB images with values 0..1."""
        features: Tensor = self.backbone(self.normalize(images))["res5"]
        return features

    def embed_regions(
        self, features: Float[Tensor, "b c y x"], masks: list[Bool[Tensor, "_n h w"]]
    ) -> list[Float[Tensor, "_n d"]]:
        """V_i: L2-normalised embeddings of each image's regions."""
        # The pool takes equally many masks of every image; what pads them is cut off again.
        count = max(1, *(len(part) for part in masks))
        cells = torch.stack([assign_cells(part, features.shape[-2:], count) for part in masks])
        embeddings = F.normalize(self.pool(features, cells), dim=-1)
        return [row[: len(part)] for row, part in zip(embeddings, masks, strict=True)]

    def embed_pixels(self, features: Float[Tensor, "b c y x"]) -> Float[Tensor, "b y x d"]:
        """L2-normalised embedding of every position: the pool's value and output projections, without attention."""
        pool = self.pool.pool
        return F.normalize(pool.c_proj(pool.v_proj(features.permute(0, 2, 3, 1))), dim=-1)


def assign_cells(
    masks: Bool[Tensor, "n h w"], size: tuple[int, int] | torch.Size, count: int
) -> Float[Tensor, "m y x"]:
    """Region masks on the feature grid, 1 inside and 0 outside, padded with empty ones to `count`.

    A cell belongs to a region that covers more than half of it; a region too small for that gets the cells that it
    covers most.
    """
    height, width = size
    padded = F.pad(masks.float(), (0, 0, 0, 0, 0, count - len(masks)))
    cover = F.interpolate(padded[None], (height, width), mode="area")[0]

    largest = cover.flatten(1).amax(1)[:, None, None]
    covered_most = (cover == largest) & (largest > 0)  # a mask of the padding covers nothing anywhere
    return ((cover > 0.5) | covered_most).float()


def embed_classes(text: TextEmbeddings) -> Float[Tensor, "k d"]:
    """T: one L2-normalised vector per class, the mean direction of its synonyms."""
    total = text.embeddings.new_zeros(len(text), text.embeddings.shape[1])
    return F.normalize(total.index_add(0, text.class_index, text.embeddings), dim=-1)


class SearchLoss(nn.Module):
    """The loss of the search: distillation only (Algorithm 1), or with supervised segmentation beside it.

    ``tgkd+segmentation`` adds, with weight 1, the cross-entropy of every res5 position against the training
    vocabulary (Eq. 1, labels taken at the nearest pixel): class and mask supervision without a target framework.
    """

    def __init__(self, name: str, text: TextEmbeddings, logit_scale: float) -> None:
        super().__init__()
        self.distillation = DistillationLoss(name.removesuffix("+segmentation"))
        self.segments = name.endswith("+segmentation")
        self.text, self.classes, self.logit_scale = text, embed_classes(text), logit_scale

    def forward(self, student: Student, batch: Batch) -> Float[Tensor, ""]:
        """The batch's share of the global batch's loss; regions without a teacher's embedding do not count."""
        features = student.extract_features(batch.images)
        known = [part.masks[part.known] for part in batch.regions]
        embeddings = student.embed_regions(features, known)

        triples: list[Triple] = [
            (visual, part.embeddings[part.known], self.classes[part.classes[part.known]])
            for visual, part in zip(embeddings, batch.regions, strict=True)
        ]

        # The distillation loss is a mean over images with a known region: weighted by this batch's part of them.
        n_described = len([visual for visual in embeddings if len(visual)])
        n_everywhere = n_described if batch.global_described is None else batch.global_described
        loss: Tensor = self.distillation(triples) * (n_described / max(1, n_everywhere))
        if self.segments:
            loss = loss + batch.share * self._segment(student, features, batch.labels)
        return loss

    def _segment(self, student: Student, features: Tensor, labels: Tensor) -> Float[Tensor, ""]:
        scores = self.logit_scale * student.embed_pixels(features) @ self.text.embeddings.T
        logits = self.text.class_scores(scores).flatten(0, 2)
        small = F.interpolate(labels[:, None].float(), features.shape[-2:], mode="nearest")[:, 0].long()
        total = F.cross_entropy(logits, small.flatten(), ignore_index=IGNORE, reduction="sum")
        return total / (small != IGNORE).sum().clamp(min=1)
