"""Open-vocabulary inference at full size: our strips against what FC-CLIP and Mask2Former compute."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings
from opentrans.models.strips import mask_argmax, pixel_argmax

SIZE = {"height": 800, "width": 1216}


def smooth(shape: tuple[int, int, int], cell: int, generator: torch.Generator) -> Tensor:
    """Maps that vary over `cell` low-resolution pixels, as a network's do."""
    count, height, width = shape
    coarse = torch.randn(count, height // cell + 2, width // cell + 2, generator=generator)
    return F.interpolate(coarse[None], (height, width), mode="bicubic", align_corners=False)[0].contiguous()


def masks(height: int, width: int, classes: int, queries: int = 100) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Class probabilities and mask logits at stride 4: most queries say "no object", the rest cover the picture."""
    generator = torch.Generator().manual_seed(7)
    logits = 3 * torch.randn(queries, classes + 1, generator=generator)
    logits[:, -1] += 6
    logits[torch.arange(0, queries, 5), torch.randint(classes, (len(range(0, queries, 5)),), generator=generator)] += 14
    scores = logits.softmax(-1)[:, :-1].contiguous()
    return scores, 4 * smooth((queries, height // 4, width // 4), 16, generator) - 3, (height, width)


def mask_strips(scores: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
    """opentrans: strips, separable resizing"""
    return mask_argmax(scores, logits, size)


def mask_customary(scores: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask2Former, FC-CLIP: resize all masks, einsum over classes x height x width, argmax"""
    full = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return torch.einsum("qc,qhw->chw", scores, full.sigmoid()).argmax(0)


def pixels(
    height: int, width: int, classes: int, dim: int = 512, stride: int = 4
) -> tuple[Tensor, TextEmbeddings, tuple[int, int]]:
    """Pixel embeddings at `stride` near some of the classes' text embeddings; two synonyms a class."""
    generator = torch.Generator().manual_seed(11)
    shared = torch.randn(dim, generator=generator)
    text = F.normalize(torch.randn(2 * classes, dim, generator=generator) + 1.5 * shared, dim=-1)
    present = text[torch.randint(2 * classes, (30,), generator=generator)]
    weights = (2 * smooth((30, height // stride, width // stride), 16, generator)).softmax(0)
    noise = smooth((dim, height // stride, width // stride), 8, generator) / dim**0.5
    embedding = torch.einsum("nhw,nd->dhw", weights, present) + 0.5 * noise
    return embedding, TextEmbeddings(text, torch.arange(2 * classes) // 2), (height, width)


def pixel_strips(embedding: Tensor, text: TextEmbeddings, size: tuple[int, int]) -> Tensor:
    """opentrans: strips, separable resizing"""
    return pixel_argmax(embedding, text, size)


def pixel_customary(embedding: Tensor, text: TextEmbeddings, size: tuple[int, int]) -> Tensor:
    """logits at low resolution, best synonym, resize classes x height x width, argmax"""
    cosines = torch.einsum("dhw,pd->hwp", F.normalize(embedding, dim=0), text.embeddings)
    scores = text.class_scores(cosines).permute(2, 0, 1)
    return F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0].argmax(0)


def agreement(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Share of pixels with the same class."""
    share = (ours == theirs).double().mean().item()
    assert share >= 0.9999, share
    return {"same pixels": share}


@pytest.mark.parametrize("threads", [1, 2])
def bench_masks(versus: Callable[..., Any], threads: int) -> None:
    """847 classes at 800 x 1216 from 100 mask proposals."""
    versus(
        f"masks, {threads} threads", "Mask classification, 847 classes, 800 x 1216", masks, mask_strips,
        [mask_customary], {**SIZE, "classes": 847}, agreement, {"speed": 2, "memory": 5}, memory=True, threads=threads,
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def bench_pixels(versus: Callable[..., Any], threads: int) -> None:
    """847 classes at 800 x 1216 from pixel embeddings at stride 4."""
    versus(
        f"pixels, {threads} threads", "Per-pixel classification, 847 classes, 800 x 1216", pixels, pixel_strips,
        [pixel_customary], {**SIZE, "classes": 847}, agreement, {"speed": 2, "memory": 5}, memory=True,
        threads=threads,
    )  # fmt: skip
