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
    """Class probabilities and mask logits at stride 4: most queries say "no object", the rest cover the image."""
    generator = torch.Generator().manual_seed(7)
    logits = 3 * torch.randn(queries, classes + 1, generator=generator)
    logits[:, -1] += 6
    logits[torch.arange(0, queries, 5), torch.randint(classes, (len(range(0, queries, 5)),), generator=generator)] += 14
    scores = logits.softmax(-1)[:, :-1].contiguous()
    return scores, 4 * smooth((queries, height // 4, width // 4), 16, generator) - 3, (height, width)


def worst_masks(height: int, width: int, classes: int, queries: int = 100) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Uniform probabilities and white noise: no class can be left out anywhere."""
    generator = torch.Generator().manual_seed(7)
    logits = 3 * torch.randn(queries, height // 4, width // 4, generator=generator)
    return torch.rand(queries, classes, generator=generator), logits, (height, width)


def mask_tiles(scores: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
    """opentrans: tiles, only the classes that may win there"""
    return mask_argmax(scores, logits, size)


def mask_customary(scores: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask2Former, FC-CLIP: resize all masks, einsum over classes x height x width, argmax"""
    full = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return torch.einsum("qc,qhw->chw", scores, full.sigmoid()).argmax(0)


def pixels(
    height: int, width: int, classes: int, dim: int = 1024, stride: int = 4
) -> tuple[Tensor, TextEmbeddings, tuple[int, int]]:
    """Pixel embeddings at `stride` near some of the classes' text embeddings (RN50: 1024 values), a prompt a class."""
    generator = torch.Generator().manual_seed(11)
    shared = torch.randn(dim, generator=generator)
    text = F.normalize(torch.randn(classes, dim, generator=generator) + 1.5 * shared, dim=-1)
    present = text[torch.randint(classes, (30,), generator=generator)]
    weights = (2 * smooth((30, height // stride, width // stride), 16, generator)).softmax(0)
    noise = smooth((dim, height // stride, width // stride), 8, generator) / dim**0.5
    embedding = torch.einsum("nhw,nd->dhw", weights, present) + 0.5 * noise
    return embedding, TextEmbeddings(text, torch.arange(classes)), (height, width)


def worst_pixels(height: int, width: int, classes: int) -> tuple[Tensor, TextEmbeddings, tuple[int, int]]:
    """White noise: neighbouring embeddings have nothing in common."""
    embedding, text, size = pixels(height, width, classes)
    return torch.randn(embedding.shape, generator=torch.Generator().manual_seed(13)), text, size


def pixel_tiles(embedding: Tensor, text: TextEmbeddings, size: tuple[int, int]) -> Tensor:
    """opentrans: tiles, only the classes that may win there"""
    return pixel_argmax(embedding, text, size)


def pixel_customary(embedding: Tensor, text: TextEmbeddings, size: tuple[int, int]) -> Tensor:
    """logits at low resolution, best synonym, resize classes x height x width, argmax"""
    cosines = torch.einsum("dhw,pd->hwp", F.normalize(embedding, dim=0), text.embeddings)
    scores = text.class_scores(cosines).permute(2, 0, 1).contiguous()  # strided, the rest is four times slower
    return F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0].argmax(0)


def agreement(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Share of pixels with the same class."""
    share = (ours == theirs).double().mean().item()
    assert share >= 0.9999, share
    return {"same pixels": share}


GOAL = {"speed": 2, "memory": 5}


@pytest.mark.parametrize("threads", [1, 2])
def bench_masks(versus: Callable[..., Any], threads: int) -> None:
    """847 classes at 800 x 1216 from 100 mask proposals."""
    versus(
        f"masks, {threads} threads", "Mask classification, 847 classes, 800 x 1216", masks, mask_tiles,
        [mask_customary], {**SIZE, "classes": 847}, agreement, GOAL, memory=True, threads=threads,
    )  # fmt: skip


def bench_worst_masks(versus: Callable[..., Any]) -> None:
    """The same where nothing can be left out."""
    versus(
        "masks, worst case", "Mask classification of noise, 847 classes, 800 x 1216: no class can be left out",
        worst_masks, mask_tiles, [mask_customary], {**SIZE, "classes": 847}, agreement, GOAL, memory=True, threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def bench_pixels(versus: Callable[..., Any], threads: int) -> None:
    """847 classes at 800 x 1216 from pixel embeddings at stride 4."""
    versus(
        f"pixels, {threads} threads", "Per-pixel classification, 847 classes, 800 x 1216", pixels, pixel_tiles,
        [pixel_customary], {**SIZE, "classes": 847}, agreement, GOAL, memory=True, threads=threads,
    )  # fmt: skip


def bench_worst_pixels(versus: Callable[..., Any]) -> None:
    """The same for embeddings of noise."""
    versus(
        "pixels, worst case", "Per-pixel classification of noise, 847 classes, 800 x 1216", worst_pixels,
        pixel_tiles, [pixel_customary], {**SIZE, "classes": 847}, agreement, GOAL, memory=True, threads=1,
    )  # fmt: skip


VOCABULARIES = [20, 80, 320, 847, 2000, 5000]


@pytest.mark.parametrize("classes", VOCABULARIES)
def bench_vocabulary(versus: Callable[..., Any], classes: int) -> None:
    """Time and memory against the size of the vocabulary, at 200 x 304."""
    versus(
        f"masks of {classes} classes", "Vocabulary size", masks, mask_tiles, [mask_customary],
        {"height": 200, "width": 304, "classes": classes}, agreement, curve=("classes, mask proposals", classes),
        memory=True, threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("classes", VOCABULARIES)
def bench_vocabulary_of_pixels(versus: Callable[..., Any], classes: int) -> None:
    """The same for pixel embeddings."""
    versus(
        f"pixels of {classes} classes", "Vocabulary size, per pixel", pixels, pixel_tiles, [pixel_customary],
        {"height": 200, "width": 304, "classes": classes}, agreement, curve=("classes, pixel embeddings", classes),
        memory=True, threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("height", [128, 256, 512, 1024])
def bench_size(versus: Callable[..., Any], height: int) -> None:
    """Time and memory against the size of the image, 150 classes."""
    width = height * 3 // 2
    versus(
        f"masks at {height} x {width}", "Image size", masks, mask_tiles, [mask_customary],
        {"height": height, "width": width, "classes": 150}, agreement, curve=("pixels, mask proposals", height * width),
        memory=True, threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("height", [128, 256, 512, 1024])
def bench_size_of_pixels(versus: Callable[..., Any], height: int) -> None:
    """The same for pixel embeddings."""
    width = height * 3 // 2
    versus(
        f"pixels at {height} x {width}", "Image size, per pixel", pixels, pixel_tiles, [pixel_customary],
        {"height": height, "width": width, "classes": 150}, agreement,
        curve=("pixels, pixel embeddings", height * width), memory=True, threads=1,
    )  # fmt: skip
