"""CLIP's text embeddings of nouns, one each, and their file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from opentrans.clip.text_cache import TextEmbedder
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.system.tensors import load_tensors, save_tensors

_REMEDY = "embed the nouns again (opentrans embed-nouns)"
_NO_LABEL = 255  # nouns label no pixel


@dataclass(frozen=True)
class NounEmbeddings:
    """L2-normalised text embeddings of nouns with the plain prompt ``{}``; row i is that of ``names[i]``."""

    names: tuple[str, ...]
    embeddings: Float[Tensor, "n d"]

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        save_tensors(path, {"embeddings": self.embeddings}, {"names": json.dumps(self.names)})

    @classmethod
    def load(cls, path: Path) -> "NounEmbeddings":
        """Read what `save` wrote; anything else is a `UserError`."""
        tensors, metadata = load_tensors(path, _REMEDY)
        try:
            names, embeddings = tuple(json.loads(metadata["names"])), tensors["embeddings"]
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(path, f"does not hold embeddings of nouns ({error})", _REMEDY) from None
        if len(names) != len(embeddings):
            raise UserError(path, f"{len(names)} nouns, {len(embeddings)} embeddings", _REMEDY)
        return cls(names, embeddings)


def embed_nouns(embedder: TextEmbedder, nouns: Sequence[str]) -> NounEmbeddings:
    """The embeddings of `nouns`, from the cache if known.

    Raises:
        UserError: there is no noun.
    """
    if not nouns:
        raise UserError("captions", "hold no noun", "set grounding_weight: 0 in the targets")
    vocabulary = Vocabulary("nouns", tuple((noun,) for noun in nouns), _NO_LABEL)
    return NounEmbeddings(tuple(nouns), embedder.embed(vocabulary, None).embeddings)
