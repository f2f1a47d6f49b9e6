"""Vocabularies in CLIP's embedding space: prompt templates, synonyms, and their file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.system.tensors import load_tensors, save_tensors

_REMEDY = "embed the vocabulary again (opentrans embed-vocabularies)"


@runtime_checkable
class TextEncoder(Protocol):
    """What turns prompts into embeddings: an `opentrans.clip.teacher.Teacher`, or a `PromptCache` before it."""

    def encode_texts(self, prompts: list[str]) -> Float[Tensor, "n d"]:
        """L2-normalised text embeddings, in the order of `prompts`."""


@dataclass(frozen=True)
class TextEmbeddings:
    """A vocabulary's text embeddings: one row for each synonym, L2-normalised, and the class of each row."""

    embeddings: Float[Tensor, "p d"]
    class_index: Int[Tensor, " p"]

    def __len__(self) -> int:
        """The number of classes."""
        return int(self.class_index.max()) + 1

    def to(self, device: torch.device) -> "TextEmbeddings":
        """The same on `device`."""
        return TextEmbeddings(self.embeddings.to(device), self.class_index.to(device))

    def class_scores(self, prompt_scores: Float[Tensor, "*n p"]) -> Float[Tensor, "*n k"]:
        """The score of a class is the largest among its synonyms' (FC-CLIP)."""
        best, rest = self._ranks
        if not rest and torch.equal(best, torch.arange(len(best), device=best.device)):
            return prompt_scores
        scores = prompt_scores.index_select(-1, best)
        for classes, prompts in rest:
            scores[..., classes] = torch.maximum(scores[..., classes], prompt_scores[..., prompts])
        return scores

    @cached_property
    def _ranks(self) -> tuple[Int[Tensor, " k"], list[tuple[Tensor, Tensor]]]:
        """The first row of each class; then the second of those that have one, and so on (with their classes).

        A gather for each rank is ten times faster than one scatter with maximum.
        """
        order = self.class_index.argsort(stable=True)
        classes = self.class_index[order]
        counts = classes.bincount(minlength=len(self))

        # The position of a row among those of its class: its position among all, less where its class starts.
        rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[classes]

        rest = [(classes[rank == r], order[rank == r]) for r in range(1, int(counts.max()))]
        return order[rank == 0], rest

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        save_tensors(path, {"embeddings": self.embeddings, "class_index": self.class_index})

    @classmethod
    def load(cls, path: Path | str) -> "TextEmbeddings":
        """Read what `save` wrote; anything else is a `UserError`."""
        tensors, _ = load_tensors(Path(path), _REMEDY)
        if tensors.keys() != {"embeddings", "class_index"}:
            raise UserError(path, "tensors embeddings and class_index expected", _REMEDY)
        return cls(tensors["embeddings"], tensors["class_index"])


class PromptCache:
    """A text encoder that encodes each prompt once, however many vocabularies share it."""

    def __init__(self, teacher: TextEncoder) -> None:
        self.teacher = teacher
        self.known: dict[str, Tensor] = {}

    def encode_texts(self, prompts: list[str]) -> Float[Tensor, "n d"]:
        """L2-normalised text embeddings, in the order of `prompts`."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        if new:
            self.known.update(zip(new, self.teacher.encode_texts(new), strict=True))
        return torch.stack([self.known[prompt] for prompt in prompts])


def embed_vocabulary(teacher: TextEncoder, vocabulary: Vocabulary, templates: list[str] | None) -> TextEmbeddings:
    """Text embeddings of a vocabulary.

    With `templates` (FC-CLIP): every synonym is encoded with every template, normalised, averaged, normalised.
    Without (OpenTrans' plain prompt): one row for each class, its synonyms joined by commas.
    """
    if templates is None:
        joined = [", ".join(synonyms) for synonyms in vocabulary.names]
        return TextEmbeddings(teacher.encode_texts(joined), torch.arange(len(joined)))

    names = [name for synonyms in vocabulary.names for name in synonyms]
    classes = [index for index, synonyms in enumerate(vocabulary.names) for _ in synonyms]
    prompts = [template.format(name) for name in names for template in templates]
    means = teacher.encode_texts(prompts).unflatten(0, (len(names), len(templates))).mean(1)
    return TextEmbeddings(F.normalize(means, dim=-1), torch.tensor(classes))
