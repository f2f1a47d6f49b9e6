"""Han et al. (ICCV 2023): Mask2Former whose queries are classified against text, with distillation from CLIP."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import TargetConfig
from opentrans.distillation import DEFAULT_WEIGHTS, DistillationLoss, Triple
from opentrans.models.classifier import TextClassifier
from opentrans.models.grounding import draw_regions, grounding_loss
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
    """Queries q = Linear(decoder state), shared by all decoder outputs; class embeddings e = Linear(ReLU(q)).

    Every output has a class projection of its own; the last output predicts. The distillation loss compares a plain
    projection of the matched q, again one for each output, with the teacher's region embeddings. Source: the authors'
    code, which passes the layer-normed decoder state through one linear layer before all else.
    """

    def __init__(self, settings: TargetConfig, teacher: ClipSource, train_text: TextEmbeddings) -> None:
        super().__init__()
        self.backbone = ClipBackbone.of_teacher(teacher, settings.output_stride)
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)

        config = make_config(settings, len(train_text))
        self.head = MaskHead(config, self.backbone.channels, settings.offset_scale)
        sizes = settings.width, teacher.embed_dim
        self.query_head = nn.Linear(settings.width, settings.width)
        self.class_head = nn.Linear(*sizes)
        self.auxiliary_heads = nn.ModuleList(nn.Linear(*sizes) for _ in range(settings.decoder_layers))

        # Only where they are used: a parameter without gradient would stop distributed training.
        self.distillation_weight = get_distillation_weight(settings)
        loss = settings.distillation if self.distillation_weight > 0 else None
        self.distillation = None if loss is None else DistillationLoss(loss)
        outputs = 0 if loss is None else settings.decoder_layers + 1
        self.student_heads = nn.ModuleList(nn.Linear(*sizes) for _ in range(outputs))

        self.grounding_weight = settings.grounding_weight
        self.classifier = TextClassifier(train_text, no_object_std=settings.no_object_std)
        self.criterion = SetCriterion(config, settings.ignore_matched_share)

    def _decode(self, images: Float[Tensor, "b 3 h w"]) -> MaskOutputs:
        outputs: MaskOutputs = self.head(self.backbone(pad_images(self.normalize(images))))
        return outputs

    def network(
        self, images: Float[Tensor, "b 3 h w"], classes: TextEmbeddings | None = None
    ) -> tuple[Float[Tensor, "b q k1"], Float[Tensor, "b q hm wm"]]:
        """Class and mask logits of RGB images (values 0..1), all that prediction computes before upsampling."""
        outputs = self._decode(images)
        queries = self.query_head(outputs.queries[-1])
        return self.classifier(self.class_head(queries.relu()), classes), outputs.masks[-1]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms ``class``, ``mask``, ``dice``, ``distillation``, ``grounding``: sums over the decoder's outputs."""
        outputs = self._decode(batch.images)
        heads = [*self.auxiliary_heads, self.class_head]
        terms: dict[str, Tensor] = {}

        for position, (states, masks, head) in enumerate(zip(outputs.queries, outputs.masks, heads, strict=True)):
            queries = self.query_head(states)
            embeddings = head(queries.relu())
            logits = self.classifier(embeddings)
            matches = self.criterion.match(masks, logits, batch.regions)
            layer = self.criterion(masks, logits, batch, matches)
            if self.distillation is not None:
                students = F.normalize(self.student_heads[position](queries), dim=-1)
                distilled = self._distill(self.distillation, students, batch, matches)
                layer["distillation"] = self.distillation_weight * distilled
            if self.grounding_weight:
                layer["grounding"] = self.grounding_weight * self._ground(embeddings, batch, matches)
            terms = add_terms(terms, layer)

        return terms

    def _distill(
        self, loss: DistillationLoss, students: Float[Tensor, "b q d"], batch: Batch, matches: Matches
    ) -> Float[Tensor, ""]:
        """Distillation of the matched queries whose region has a teacher embedding, as this group's share.

        A group counts by its images that have such a query.
        """
        texts = self.classifier.class_directions()
        triples: list[Triple] = []
        for student, regions, (chosen, matched) in zip(students, batch.regions, matches, strict=True):
            known = regions.known[matched]
            chosen, matched = chosen[known], matched[known]
            triples.append((student[chosen], regions.embeddings[matched], texts[regions.classes[matched]]))

        n_described = len([student for student, _, _ in triples if len(student)])
        total: Tensor = loss(triples) * (n_described / len(students) * batch.share)
        return total

    def _ground(self, embeddings: Float[Tensor, "b q d"], batch: Batch, matches: Matches) -> Float[Tensor, ""]:
        """Grounding loss of the matched queries' class embeddings, as this group's share; groups are not joined."""
        if batch.words is None:
            raise ValueError("the grounding loss needs the words of the images' captions")
        pairs = zip(embeddings, matches, strict=True)
        regions = [embedding[draw_regions(queries)] for embedding, (queries, _) in pairs]
        return grounding_loss(batch.words, regions, self.classifier.log_scale.exp()) * batch.share

    @torch.no_grad()
    def predict(
        self, image: Float[Tensor, "3 h w"], classes: TextEmbeddings, size: tuple[int, int]
    ) -> Int[Tensor, "height width"]:
        """Softmax over K + 1, no-object dropped, masks weighted by it, argmax at `size`."""
        logits, masks = self.network(image[None], classes.to(image.device))
        return mask_argmax(logits[0].softmax(-1)[:, :-1], masks[0], size, self.strip_bytes, get_frame(image))


def get_distillation_weight(settings: TargetConfig) -> float:
    """The weight of a target's distillation loss: the setting, or the one that belongs to the loss; 0 without one."""
    if settings.distillation is None:
        return 0.0
    if settings.distillation_weight is None:
        return DEFAULT_WEIGHTS[settings.distillation]
    return settings.distillation_weight
