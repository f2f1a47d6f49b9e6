"""The words that stand for a training image in the grounding loss: some nouns of one of its captions."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from opentrans.clip.nouns import NounEmbeddings
from opentrans.data.nouns import CaptionNouns
from opentrans.errors import UserError

DROP_PROBABILITY, MOST_WORDS = 0.25, 5


class CaptionWords:
    """Draws text embeddings of nouns for each image of a data set.

    Raises:
        UserError: a noun has no embedding.
    """

    def __init__(self, nouns: CaptionNouns, embeddings: NounEmbeddings) -> None:
        self.nouns, self.embeddings = nouns, embeddings.embeddings
        self._rows = {name: row for row, name in enumerate(embeddings.names)}
        missing = [noun for noun in nouns.distinct if noun not in self._rows]
        if missing:
            remedy = "embed the nouns again (opentrans embed-nouns)"
            raise UserError("noun embeddings", f"{missing[0]!r} is missing ({len(missing)} such)", remedy)

    def draw(self, record: int, generator: np.random.Generator) -> Float[Tensor, "w d"]:
        """Embeddings of the words drawn for image `record`; none where the caption drawn has no noun."""
        words = draw_words(self.nouns.captions[record], generator)
        return self.embeddings[torch.tensor([self._rows[word] for word in words], dtype=torch.long)]


def draw_words(captions: Sequence[Sequence[str]], generator: np.random.Generator) -> list[str]:
    """At most `MOST_WORDS` nouns of one of an image's captions, as the authors' code draws them.

    One caption is drawn; each of its nouns is dropped with `DROP_PROBABILITY`, none if that would drop all; of more
    than `MOST_WORDS` so many are drawn.
    """
    if not captions:
        return []
    nouns = list(captions[int(generator.integers(len(captions)))])
    kept = [noun for noun in nouns if generator.random() >= DROP_PROBABILITY] or nouns
    if len(kept) <= MOST_WORDS:
        return kept
    return [kept[position] for position in generator.choice(len(kept), MOST_WORDS, replace=False)]
