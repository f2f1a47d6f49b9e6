"""Open-vocabulary classification (Eq. 1): scaled cosine to text embeddings plus one learned no-object vector."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings

_INITIAL_LOG_SCALE = math.log(1 / 0.07)
_SAME_TEXT = 1 - 1e-5  # cosine from which two text embeddings are the same prompt


class TextClassifier(nn.Module):
    """Logits ``exp(s) cos(e, T)``, s learned from ln(1/0.07); the last logit belongs to the no-object vector.

    It keeps the training vocabulary, which training classifies against and which decides what is unseen.
    `max_scale` bounds exp(s) (FC-CLIP: 100); `no_object_std` is of the no-object vector's initial values, whose length
    decides how fast its direction trains.
    """

    embeddings: Tensor
    class_index: Tensor

    def __init__(self, train_text: TextEmbeddings, max_scale: float = math.inf, no_object_std: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("embeddings", train_text.embeddings.clone())
        self.register_buffer("class_index", train_text.class_index.clone())

        self.classes = len(train_text)
        self.max_scale = max_scale
        self.no_object = nn.Parameter(no_object_std * torch.randn(1, train_text.embeddings.shape[1]))
        self.log_scale = nn.Parameter(torch.tensor(_INITIAL_LOG_SCALE))

    @property
    def train_text(self) -> TextEmbeddings:
        """The training vocabulary."""
        return TextEmbeddings(self.embeddings, self.class_index)

    def class_directions(self) -> Float[Tensor, "k d"]:
        """One normalised text embedding per training class, T(Y): the mean over its synonyms."""
        sums = self.embeddings.new_zeros(self.classes, self.embeddings.shape[1])
        return F.normalize(sums.index_add(0, self.class_index, self.embeddings), dim=-1)

    def forward(self, embeddings: Float[Tensor, "*n d"], text: TextEmbeddings | None = None) -> Float[Tensor, "*n k1"]:
        """Logits over the classes of `text` (default: the training vocabulary) and no-object, K + 1 values."""
        scale = self.log_scale.exp().clamp(max=self.max_scale)
        directions = F.normalize(embeddings, dim=-1)
        known = class_cosines(directions, self.train_text if text is None else text)
        nothing = directions @ F.normalize(self.no_object, dim=-1).T
        return scale * torch.cat([known, nothing], dim=-1)

    def get_seen(self, text: TextEmbeddings) -> Bool[Tensor, " k"]:
        """Which classes of `text` share a prompt (its embedding) with the training vocabulary."""
        same = (text.embeddings @ self.embeddings.T > _SAME_TEXT).any(-1)
        seen = torch.zeros(len(text), dtype=torch.bool, device=same.device)
        seen[text.class_index[same]] = True
        return seen


def class_cosines(directions: Float[Tensor, "*n d"], text: TextEmbeddings) -> Float[Tensor, "*n k"]:
    """Cosine of unit vectors to each class, the best of its synonyms."""
    cosines = directions @ text.embeddings.T
    one_each = torch.equal(text.class_index, torch.arange(cosines.shape[-1], device=cosines.device))
    return cosines if one_each else text.class_scores(cosines)
