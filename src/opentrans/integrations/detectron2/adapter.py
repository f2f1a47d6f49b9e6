"""Our models under detectron2's evaluators."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from opentrans.clip.text import TextEmbeddings
from opentrans.data.prepared import read_rgb
from opentrans.errors import UserError
from opentrans.evaluation.evaluate import resize_image
from opentrans.models.target import Target


class ClassMap:
    """A label map that answers ``argmax(dim=0)`` as the scores (K, H, W) behind it would.

    `SemSegEvaluator` asks for nothing else; scores of 847 classes at full size would take gigabytes.
    """

    def __init__(self, classes: Int[Tensor, "h w"]) -> None:
        self.classes = classes

    def argmax(self, dim: int = 0) -> Int[Tensor, "h w"]:
        """The class of each pixel."""
        if dim not in (0, -3):
            raise ValueError("only the classes' dimension has an argmax here")
        return self.classes


class SemSegAdapter(nn.Module):
    """A target as detectron2's evaluation calls a model: list of dictionaries in, ``{"sem_seg": ...}`` out.

    Args:
        target: the model; put into evaluation mode.
        classes: text embeddings of the benchmark's classes, in their order.
        image_format: of the dictionaries' ``image``: detectron2's ``cfg.INPUT.FORMAT``.
        test_size: read ``file_name`` and resize it by our own protocol to this short and longest side
            (short None: keep), instead of taking the mapper's ``image``; mIoU is then that of ``opentrans evaluate``.
    """

    def __init__(
        self,
        target: Target,
        classes: TextEmbeddings,
        image_format: str = "BGR",
        test_size: tuple[int | None, int] | None = None,
    ) -> None:
        super().__init__()
        if image_format not in ("BGR", "RGB"):
            raise UserError(f"image_format {image_format!r}", "is neither BGR nor RGB", "give cfg.INPUT.FORMAT")

        self.target, self.classes = target.eval(), classes
        self.image_format, self.test_size = image_format, test_size

    @torch.inference_mode()
    def forward(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Segment each image at its dictionary's ``height`` and ``width`` (default: the image's own)."""
        return [{"sem_seg": ClassMap(self._predict(entry))} for entry in inputs]

    def _predict(self, entry: dict[str, Any]) -> Int[Tensor, "h w"]:
        device = next(self.target.parameters()).device
        image = self._read(entry).to(device)
        size = entry.get("height", image.shape[1]), entry.get("width", image.shape[2])
        return self.target.predict(image, self.classes.to(device), size)

    def _read(self, entry: dict[str, Any]) -> Float[Tensor, "3 h w"]:
        """RGB, values 0..1."""
        if self.test_size is not None:
            return resize_image(read_rgb(Path(entry["file_name"])), *self.test_size)
        image: Tensor = entry["image"].float() / 255
        return image.flip(0) if self.image_format == "BGR" else image
