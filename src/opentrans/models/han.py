"""Han et al. (ICCV 2023): Mask2Former whose queries are classified against text, with distillation from CLIP."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import TargetConfig
from opentrans.distillation import tgkd
from opentrans.models.classifier import TextClassifier
from opentrans.models.mask2former import (
    MaskHead,
    MaskOutputs,
    Matches,
    SetCriterion,
    add_terms,
    make_config,
)
from opentrans.models.registry import register
from opentrans.models.strips import mask_argmax
from opentrans.models.target import IMAGENET_MEAN, IMAGENET_STD, Batch, Normalize, Target, get_frame, pad_images


@register("han")
class Han(Target):
    """Class embedding e = Linear(ReLU(query)), one projection for each decoder output; the last one predicts.

    The distillation loss compares a plain projection of the matched queries with the teacher's region embeddings.
    """

    def __init__(self, settings: TargetConfig, teacher: ClipSource, train_text: TextEmbeddings) -> None:
        super().__init__()
        self.backbone = ClipBackbone.of_teacher(teacher, settings.output_stride)
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)

        config = make_config(settings, len(train_text))
        self.head = MaskHead(config, self.backbone.channels, settings.offset_scale)
        self.class_head = nn.Linear(settings.width, teacher.embed_dim)
        auxiliary = (nn.Linear(settings.width, teacher.embed_dim) for _ in range(settings.decoder_layers))
        self.auxiliary_heads = nn.ModuleList(auxiliary)

        self.distillation_weight = settings.distillation_weight
        # Only where it is used: a parameter without gradient would stop distributed training.
        self.student_head = nn.Linear(settings.width, teacher.embed_dim) if settings.distillation_weight else None

        self.classifier = TextClassifier(train_text)
        self.criterion = SetCriterion(config, settings.ignore_matched_share)

    def _decode(self, images: Float[Tensor, "b 3 h w"]) -> MaskOutputs:
        outputs: MaskOutputs = self.head(self.backbone(pad_images(self.normalize(images))))
        return outputs

    def network(
        self, images: Float[Tensor, "b 3 h w"], classes: TextEmbeddings | None = None
    ) -> tuple[Float[Tensor, "b q k1"], Float[Tensor, "b q hm wm"]]:
        """Class and mask logits of RGB images (values 0..1), all that prediction computes before upsampling."""
        outputs = self._decode(images)
        return self.classifier(self.class_head(outputs.queries[-1].relu()), classes), outputs.masks[-1]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms ``class``, ``mask``, ``dice`` and ``distillation``, each summed over the decoder's outputs."""
        outputs = self._decode(batch.images)
        heads = [*self.auxiliary_heads, self.class_head]
        terms: dict[str, Tensor] = {}

        for queries, masks, head in zip(outputs.queries, outputs.masks, heads, strict=True):
            logits = self.classifier(head(queries.relu()))
            matches = self.criterion.match(masks, logits, batch.regions)
            layer = self.criterion(masks, logits, batch, matches)
            if self.student_head is not None:
                layer["distillation"] = self.distillation_weight * self._distill(queries, batch, matches)
            terms = add_terms(terms, layer)

        return terms

    def _distill(self, queries: Float[Tensor, "b q c"], batch: Batch, matches: Matches) -> Float[Tensor, ""]:
        """TGKD on the matched queries whose region has a teacher embedding; mean over the global batch's images."""
        assert self.student_head is not None
        students = F.normalize(self.student_head(queries), dim=-1)
        texts = self.classifier.class_directions()

        # Starts in the graph, so that a batch without any known region has gradients, too.
        total = 0 * students.sum()
        for student, regions, (chosen, matched) in zip(students, batch.regions, matches, strict=True):
            known = regions.known[matched]
            if known.any():
                chosen, matched = chosen[known], matched[known]
                total = total + tgkd(student[chosen], regions.embeddings[matched], texts[regions.classes[matched]])
        return total / len(queries) * batch.share

    @torch.no_grad()
    def predict(
        self, image: Float[Tensor, "3 h w"], classes: TextEmbeddings, size: tuple[int, int]
    ) -> Int[Tensor, "height width"]:
        """Softmax over K + 1, no-object dropped, masks weighted by it, argmax at `size`."""
        logits, masks = self.network(image[None], classes.to(image.device))
        return mask_argmax(logits[0].softmax(-1)[:, :-1], masks[0], size, self.strip_bytes, get_frame(image))
