"""Mask2Former's parts from `transformers`, wrapped: pixel decoder, masked-attention decoder, matcher, losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerLoss,
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from opentrans.clip.backbone import STAGES
from opentrans.config import TargetConfig
from opentrans.models.initialization import initialize_head
from opentrans.models.target import Batch, Regions, pad_images

_CLASS_WEIGHT, _MASK_WEIGHT, _DICE_WEIGHT, _NO_OBJECT_WEIGHT = 2.0, 5.0, 5.0, 0.1
_IGNORE_LABEL = -100  # cross entropy's own
# Of each image: queries, and the regions matched to them (as many, but not in every image: hence the underscore).
Matches = list[tuple[Int[Tensor, " _m"], Int[Tensor, " _m"]]]


@dataclass
class MaskOutputs:
    """What the decoder says after each of its layers (the first entry: before any)."""

    queries: list[Float[Tensor, "b q c"]]
    masks: list[Float[Tensor, "b q h w"]]
    features: Float[Tensor, "b c h w"]


def make_config(settings: TargetConfig, classes: int) -> Mask2FormerConfig:
    """The library's configuration of a target."""
    return Mask2FormerConfig(
        feature_size=settings.width,
        mask_feature_size=settings.width,
        hidden_dim=settings.width,
        encoder_layers=settings.encoder_layers,
        encoder_feedforward_dim=settings.encoder_feedforward,
        decoder_layers=settings.decoder_layers + 1,  # the library counts the output before the first layer
        num_attention_heads=settings.heads,
        dim_feedforward=settings.feedforward,
        num_queries=settings.queries,
        train_num_points=settings.train_points,
        class_weight=_CLASS_WEIGHT,
        mask_weight=_MASK_WEIGHT,
        dice_weight=_DICE_WEIGHT,
        no_object_weight=_NO_OBJECT_WEIGHT,
        num_labels=classes,
    )


class MaskHead(Mask2FormerPreTrainedModel):
    """Deformable-attention pixel decoder and masked-attention transformer decoder."""

    def __init__(self, config: Mask2FormerConfig, channels: dict[str, int], offset_scale: float = 1.0) -> None:
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, [channels[stage] for stage in STAGES])
        self.decoder = Mask2FormerTransformerModule(config.feature_size, config)
        self.post_init()
        initialize_head(self, offset_scale)

    def forward(self, features: dict[str, Tensor]) -> MaskOutputs:
        """Decode the backbone's maps res2..res5."""
        pixels = self.pixel_decoder([features[stage] for stage in STAGES])
        decoded = self.decoder(pixels.multi_scale_features, pixels.mask_features)
        queries = [states.transpose(0, 1) for states in decoded.intermediate_hidden_states]
        return MaskOutputs(queries, list(decoded.masks_queries_logits), pixels.mask_features)


class SetCriterion(Mask2FormerLoss):
    """The library's matcher and mask losses, normalised over the *global* batch (see `Target.loss`).

    `ignored_share` of the matched queries, drawn anew each time, do not count in the class loss (Han et al.'s code).
    """

    def __init__(self, config: Mask2FormerConfig, ignored_share: float = 0.0) -> None:
        super().__init__(config, {})
        self.ignored_share = ignored_share

    @torch.no_grad()
    def match(
        self, masks: Float[Tensor, "b q h w"], logits: Float[Tensor, "b q k1"], regions: Sequence[Regions]
    ) -> Matches:
        """Assign a query to every region of each image (Hungarian; class 2, mask 5, dice 5)."""
        return [self._match_image(*image) for image in zip(masks, logits, regions, strict=True)]

    def _match_image(
        self, masks: Float[Tensor, "q h w"], logits: Float[Tensor, "q k1"], regions: Regions
    ) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        if not len(regions.classes):
            return regions.classes, regions.classes  # both empty

        padded = pad_images(regions.masks)
        queries, matched = self.matcher(masks[None], logits[None], [padded], [regions.classes])[0]
        return queries.to(masks.device), matched.to(masks.device)

    def forward(
        self, masks: Float[Tensor, "b q h w"], logits: Float[Tensor, "b q k1"], batch: Batch, matches: Matches
    ) -> dict[str, Tensor]:
        """Weighted terms ``class``, ``mask`` and ``dice`` of one decoder layer.

        Args:
            masks: mask logits.
            logits: class logits, no-object last.
            batch: regions and the global batch's counts.
            matches: from `match`.
        """
        terms = {"class": _CLASS_WEIGHT * self._class_loss(logits, batch, matches)}

        # The library's mask losses fail without any region; zeros of the graph keep backward alike on all devices.
        if not any(len(queries) for queries, _ in matches):
            return terms | {"mask": 0 * masks.sum(), "dice": 0 * masks.sum()}

        labels = [pad_images(regions.masks).to(masks.dtype) for regions in batch.regions]
        losses = self.loss_masks(masks, labels, matches, batch.global_regions)
        return terms | {"mask": _MASK_WEIGHT * losses["loss_mask"], "dice": _DICE_WEIGHT * losses["loss_dice"]}

    def _class_loss(self, logits: Float[Tensor, "b q k1"], batch: Batch, matches: Matches) -> Float[Tensor, ""]:
        """Weighted cross entropy over the sum of weights in the global batch, where every region has its query.

        Of ignored labels the sum counts their expected number, which every process knows.
        """
        target = torch.full(logits.shape[:2], self.num_labels, device=logits.device)
        for row, regions, (queries, matched) in zip(target, batch.regions, matches, strict=True):
            row[queries] = regions.classes[matched]
            if self.ignored_share:
                ignored = torch.rand(len(queries), device=logits.device) < self.ignored_share
                row[queries[ignored]] = _IGNORE_LABEL

        total = F.cross_entropy(logits.flatten(0, 1), target.flatten(), self.empty_weight, reduction="sum")
        empty = len(logits) * logits.shape[1] / batch.share - batch.global_regions
        return total / ((1 - self.ignored_share) * batch.global_regions + _NO_OBJECT_WEIGHT * empty)


def add_terms(total: dict[str, Tensor], terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum of loss terms by name."""
    return {name: total[name] + value if name in total else value for name, value in terms.items()}
