"""Segmentation at full size in strips of rows: classes x height x width floats never exist at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings

Size = tuple[int, int]
STRIP_BYTES = 256 * 2**20
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Frame:
    """What a low-resolution map covers: `padded` (height, width) pixels, whose top left part is the picture."""

    padded: Size
    picture: Size


def interpolation_matrix(target: int, source: int, device: torch.device) -> Float[Tensor, "target source"]:
    """The matrix that resizes a line of `source` values linearly to `target`, as `F.interpolate` does.

    Bilinear interpolation (``align_corners=False``) is separable: one such matrix for rows, one for columns.
    """
    identity = torch.eye(source, device=device)[None]
    return F.interpolate(identity, size=target, mode="linear", align_corners=False)[0].T


def resize_matrices(low: Size, frame: Frame | None, size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices for rows (height x h) and columns (width x w) that take a map from `low` to `size`.

    With a `frame` the map is first resized to `padded`, cut to the picture, then resized to `size`.
    """
    matrices = []
    for axis in (0, 1):
        if frame is None:
            matrices.append(interpolation_matrix(size[axis], low[axis], device))
            continue
        to_picture = interpolation_matrix(frame.padded[axis], low[axis], device)[: frame.picture[axis]]
        matrices.append(interpolation_matrix(size[axis], frame.picture[axis], device) @ to_picture)
    return matrices[0], matrices[1]


def _strips(rows: Tensor, step: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Per strip: its rows at full size, the low-resolution rows that it needs, and the matrix between the two."""
    for top in range(0, len(rows), step):
        matrix = rows[top : top + step]
        needed = matrix.any(0).nonzero()
        band = slice(int(needed[0]), int(needed[-1]) + 1)
        yield slice(top, top + len(matrix)), band, matrix[:, band]


def _upsample(low: Float[Tensor, "n b w"], rows: Tensor, columns: Tensor) -> Float[Tensor, "n r width"]:
    """Resize a band: rows (n x r x w), then columns."""
    return torch.matmul(torch.matmul(rows, low), columns.T)


def mask_argmax(
    class_scores: Float[Tensor, "q k"],
    mask_logits: Float[Tensor, "q h w"],
    size: Size,
    strip_bytes: int = STRIP_BYTES,
    frame: Frame | None = None,
) -> Int[Tensor, "height width"]:
    """Class of each pixel from mask proposals: argmax over c of ``sum_q p(q, c) sigmoid(mask_q)``.

    Args:
        class_scores: p(q, c), the probability of class c for proposal q.
        mask_logits: low-resolution mask logits, resized bilinearly before the sigmoid.
        size: (height, width) of the result, in pixels.
        strip_bytes: what the intermediate tensors of one strip may take together (at least one row is computed).
        frame: what the mask logits cover, if it is more than the picture.
    """
    rows, columns = resize_matrices((mask_logits.shape[1], mask_logits.shape[2]), frame, size, mask_logits.device)
    queries, classes = class_scores.shape
    row_bytes = FLOAT_BYTES * (queries * mask_logits.shape[2] + (2 * queries + classes) * size[1])

    def classify(band: slice, matrix: Tensor) -> Tensor:
        masks = _upsample(mask_logits[:, band], matrix, columns).sigmoid()
        return (class_scores.T @ masks.flatten(1)).argmax(0).view(len(matrix), -1)

    return _by_strips(rows, size, max(1, strip_bytes // row_bytes), classify)


def pixel_argmax(
    embedding: Float[Tensor, "d h w"],
    text: TextEmbeddings,
    size: Size,
    strip_bytes: int = STRIP_BYTES,
    frame: Frame | None = None,
) -> Int[Tensor, "height width"]:
    """Class of each pixel from per-pixel embeddings: argmax over classes of the resized cosine to the text.

    A class scores as its best synonym does; scores are resized bilinearly. Arguments as in `mask_argmax`.
    """
    rows, columns = resize_matrices((embedding.shape[1], embedding.shape[2]), frame, size, embedding.device)
    directions = F.normalize(embedding, dim=0)
    low_width, prompts, classes = embedding.shape[2], len(text.embeddings), len(text)
    row_bytes = FLOAT_BYTES * (classes * (low_width + size[1]) + 2 * (prompts + classes) * low_width)

    def classify(band: slice, matrix: Tensor) -> Tensor:
        scores = text.class_scores(torch.einsum("dhw,pd->hwp", directions[:, band], text.embeddings))
        return _upsample(scores.permute(2, 0, 1), matrix, columns).argmax(0)

    return _by_strips(rows, size, max(1, strip_bytes // row_bytes), classify)


def _by_strips(rows: Tensor, size: Size, step: int, classify: Callable[[slice, Tensor], Tensor]) -> Tensor:
    result = torch.empty(size, dtype=torch.long, device=rows.device)
    for place, band, matrix in _strips(rows, step):
        result[place] = classify(band, matrix)
    return result
