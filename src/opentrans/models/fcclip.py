"""FC-CLIP (NeurIPS 2023): Mask2Former on a frozen CLIP, in- and out-of-vocabulary classifiers, geometric ensemble."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone, MaskedAttentionPool
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import CLIP_MEAN, CLIP_STD, ClipSource
from opentrans.config import TargetConfig
from opentrans.models.classifier import TextClassifier, class_cosines
from opentrans.models.mask2former import MaskHead, SetCriterion, add_terms, make_config
from opentrans.models.registry import register
from opentrans.models.strips import mask_argmax
from opentrans.models.target import Batch, Normalize, Target, get_frame, pad_images

MAX_SCALE = 100.0


def pool_masks(features: Float[Tensor, "b c h w"], masks: Float[Tensor, "b q h w"]) -> Float[Tensor, "b q c"]:
    """Mean of `features` where the mask logits are positive; zeros for an empty mask. No gradient to the masks."""
    inside = (masks.detach() > 0).to(features.dtype).flatten(2)
    weights = inside / (inside.sum(-1, keepdim=True) + 1e-8)
    return weights @ features.flatten(2).transpose(1, 2)


def ensemble(
    inside: Float[Tensor, "*b q k1"],
    outside: Float[Tensor, "*b q k"],
    exponents: Float[Tensor, "*b q k"],
) -> Float[Tensor, "*b q k"]:
    """Class probabilities from in-vocabulary logits (no-object last) and out-of-vocabulary logits.

    ``p_in^(1-x) p_out^x`` with softmax over the K classes on both sides, normalised over the classes, times the
    in-vocabulary probability of being an object. `exponents` x: alpha or beta; 0 leaves only the in-vocabulary side.
    """
    mixed = (1 - exponents) * inside[..., :-1].log_softmax(-1) + exponents * outside.log_softmax(-1)
    return mixed.softmax(-1) * (1 - inside.softmax(-1)[..., -1:])


class ClassHead(nn.Module):
    """Class embedding of a query: decoder state plus projected mask-pooled pixel features, through a 3-layer MLP."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.pool_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        hidden = (nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.embed = nn.Sequential(*hidden, nn.Linear(width, embed_dim))

    def forward(
        self, queries: Float[Tensor, "b q c"], masks: Float[Tensor, "b q h w"], features: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b q d"]:
        """Embeddings in CLIP's space, not normalised."""
        embeddings: Tensor = self.embed(self.pool_projection(pool_masks(features, masks)) + queries)
        return embeddings


@register("fcclip")
class FcClip(Target):
    """The backbone is CLIP's own; it also classifies masks of unseen classes.

    As published it is frozen and always in evaluation mode. With the setting `trains_backbone` it is trained as the
    other targets' backbones are, which OpenTrans very probably did: a freeze plan changes its FC-CLIP rows.
    """

    undecayed = frozenset({"classifier.no_object"})  # an embedding in the published code
    clip_scale: Tensor

    def __init__(self, settings: TargetConfig, teacher: ClipSource, train_text: TextEmbeddings) -> None:
        super().__init__()
        self.trains_backbone = settings.trains_backbone
        self.backbone = ClipBackbone.of_teacher(teacher, settings.output_stride).requires_grad_(self.trains_backbone)
        self.train()
        self.normalize = Normalize(CLIP_MEAN, CLIP_STD)

        config = make_config(settings, len(train_text))
        self.head = MaskHead(config, self.backbone.channels, settings.offset_scale)
        self.class_head = ClassHead(settings.width, teacher.embed_dim)
        self.classifier = TextClassifier(train_text, MAX_SCALE, settings.no_object_std)

        self.attention_pool = MaskedAttentionPool(teacher, style="fcclip")
        self.register_buffer("clip_scale", torch.tensor(min(teacher.logit_scale, MAX_SCALE)))
        self.exponents = settings.ensemble_seen, settings.ensemble_unseen
        self.criterion = SetCriterion(config)

    def train(self, mode: bool = True) -> "FcClip":
        """Training mode for the head; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.train(mode and self.trains_backbone)
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms ``class``, ``mask`` and ``dice``, each summed over the decoder's outputs."""
        with torch.set_grad_enabled(self.trains_backbone):
            features = self.backbone(pad_images(self.normalize(batch.images)))

        outputs = self.head(features)
        terms: dict[str, Tensor] = {}
        for queries, masks in zip(outputs.queries, outputs.masks, strict=True):
            logits = self.classifier(self.class_head(queries, masks, outputs.features))
            matches = self.criterion.match(masks, logits, batch.regions)
            terms = add_terms(terms, self.criterion(masks, logits, batch, matches))
        return terms

    @torch.no_grad()
    def predict(
        self, image: Float[Tensor, "3 h w"], classes: TextEmbeddings, size: tuple[int, int]
    ) -> Int[Tensor, "height width"]:
        """Ensemble of both classifiers, masks weighted by it, argmax at `size`."""
        scores, masks = self.network(image[None], classes.to(image.device))
        return mask_argmax(scores[0], masks[0], size, self.strip_bytes, get_frame(image))

    def network(
        self, images: Float[Tensor, "b 3 h w"], classes: TextEmbeddings | None = None
    ) -> tuple[Float[Tensor, "b q k"], Float[Tensor, "b q hm wm"]]:
        """Class probabilities and mask logits of RGB images (values 0..1), before upsampling."""
        classes = classes or self.classifier.train_text
        features = self.backbone(pad_images(self.normalize(images)))
        outputs = self.head(features)
        masks = outputs.masks[-1]

        inside = self.classifier(self.class_head(outputs.queries[-1], masks, outputs.features), classes)
        outside, valid = self._classify_outside(features["res5"], masks, classes)
        return ensemble(inside, outside, self._get_exponents(classes, valid)), masks

    def _classify_outside(
        self, features: Float[Tensor, "b c y x"], masks: Float[Tensor, "b q h w"], classes: TextEmbeddings
    ) -> tuple[Float[Tensor, "b q k"], Bool[Tensor, "b q"]]:
        """CLIP's logits of the masks, and which masks cover any position of its feature map."""
        inside = F.interpolate(masks, features.shape[-2:], mode="bilinear", align_corners=False) > 0
        directions = F.normalize(self.attention_pool(features, inside.to(features.dtype)), dim=-1)
        return self.clip_scale * class_cosines(directions, classes), inside.flatten(2).any(-1)

    def _get_exponents(self, classes: TextEmbeddings, valid: Bool[Tensor, "b q"]) -> Float[Tensor, "b q k"]:
        """Alpha for seen, beta for unseen classes; 0 for masks too small for CLIP's feature map."""
        seen, unseen = self.exponents
        by_class = torch.where(self.classifier.get_seen(classes), seen, unseen)
        return by_class * valid[..., None]
