"""Segmentation at full size: classes x height x width floats never exist, and most classes are never computed.

Bilinear resizing takes averages, so the low-resolution values that a tile of pixels reads bound all of its pixels.
A class that cannot win anywhere in a tile by these bounds is left out of it; the others are compared exactly.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from opentrans.clip.text import TextEmbeddings
from opentrans.models.tiles import Frame, MapSize, Tiles, fast_argmax, in_chunks, list_candidates

STRIP_BYTES = 256 * 2**20
_CACHE_BYTES = 8 * 2**20  # on the CPU, intermediates that stay in its cache are several times faster
_FLOAT_BYTES = 4
_FEW = 8  # classes are picked out one by one where at most 1/_FEW of them remain
_MARGIN = 1e-5  # rounding of the bounds, relative to the best score


@runtime_checkable
class Scores(Protocol):
    """Scores of classes in tiles, and what can be said of them beforehand."""

    classes: int

    def bound(self, tiles: Int[Tensor, " n"]) -> tuple[Bool[Tensor, "n k"], Int[Tensor, " n"]]:
        """Classes that may win somewhere in a tile, and the one that does if there is no other."""

    def score(self, tiles: Int[Tensor, " n"], table: Int[Tensor, "n s"] | None) -> Float[Tensor, "n t s"]:
        """Scores of the classes in `table`, or of all, at every pixel of the tiles."""

    def count_floats(self, width: int) -> int:
        """Values that `score` makes for one tile and `width` classes."""


def mask_argmax(
    class_scores: Float[Tensor, "q k"],
    mask_logits: Float[Tensor, "q h w"],
    size: MapSize,
    strip_bytes: int = STRIP_BYTES,
    frame: Frame | None = None,
) -> Int[Tensor, "height width"]:
    """Class of each pixel from mask proposals: argmax over c of ``sum_q p(q, c) sigmoid(mask_q)``.

    Args:
        class_scores: p(q, c), the probability of class c for proposal q.
        mask_logits: low-resolution mask logits, resized bilinearly before the sigmoid.
        size: (height, width) of the result, in pixels.
        strip_bytes: what the intermediate tensors may take together (at least one tile is computed).
        frame: what the mask logits cover, if it is more than the image.
    """
    tiles = Tiles.of_size((mask_logits.shape[1], mask_logits.shape[2]), frame, size, mask_logits.device)
    result = torch.empty(size, dtype=torch.long, device=mask_logits.device)
    _classify(tiles, tiles.all(), MaskScores(tiles, class_scores, mask_logits), result, strip_bytes)
    return result


def pixel_argmax(
    embedding: Float[Tensor, "d h w"],
    text: TextEmbeddings,
    size: MapSize,
    strip_bytes: int = STRIP_BYTES,
    frame: Frame | None = None,
) -> Int[Tensor, "height width"]:
    """Class of each pixel from per-pixel embeddings: argmax over classes of the resized cosine to the text.

    A class scores as its best synonym does; scores are resized bilinearly. Arguments as in `mask_argmax`.
    Low-resolution scores are computed for as many rows at once as fit into half of `strip_bytes`.
    """
    tiles = Tiles.of_size((embedding.shape[1], embedding.shape[2]), frame, size, embedding.device)
    result = torch.empty(size, dtype=torch.long, device=embedding.device)
    row_floats = embedding.shape[2] * (len(text.embeddings) + len(text) + len(embedding))

    for here, low_rows in tiles.strips(strip_bytes // (2 * _FLOAT_BYTES * row_floats)):
        directions = F.normalize(embedding[:, low_rows].flatten(1).T, dim=1)
        low = text.class_scores(directions @ text.embeddings.T)
        scores = PixelScores(tiles, low, low_rows.start * tiles.low_width)

        # Where all positions that a tile reads have one winner, it wins at every pixel between them.
        winners = fast_argmax(low)[scores.sources(here)]
        alike = (winners == winners[:, :1]).all(1)
        tiles.write(result, here[alike], winners[alike][:, :1])
        _classify(tiles, here[~alike], scores, result, strip_bytes // 2)
    return result


def score_argmax(
    scores: Float[Tensor, "k h w"], size: MapSize, strip_bytes: int = STRIP_BYTES, frame: Frame | None = None
) -> Int[Tensor, "height width"]:
    """Class of each pixel from scores of every class at low resolution, resized bilinearly; arguments as above."""
    tiles = Tiles.of_size((scores.shape[1], scores.shape[2]), frame, size, scores.device)
    result = torch.empty(size, dtype=torch.long, device=scores.device)
    _classify(tiles, tiles.all(), PixelScores(tiles, scores.flatten(1).T.contiguous(), 0), result, strip_bytes)
    return result


@dataclass
class MaskScores:
    """``sum_q p(q, c) sigmoid(mask_q)``."""

    tiles: Tiles
    class_scores: Float[Tensor, "q k"]
    logits: Float[Tensor, "q h w"]

    def __post_init__(self) -> None:
        self.queries, self.classes = self.class_scores.shape
        self.low = self.logits.flatten(1).T.contiguous()
        self.by_class = self.class_scores.T.contiguous()

        largest = self._bound_masks(largest=True)
        smallest = self._bound_masks(largest=False)
        self.middle = (largest + smallest) / 2
        self.radius = (largest - smallest) / 2

    def _bound_masks(self, largest: bool) -> Float[Tensor, "n q"]:
        narrow = self.tiles.rows.bound(self.low.unflatten(0, self.logits.shape[1:]), 0, largest)
        bounds: Tensor = self.tiles.columns.bound(narrow, 1, largest).flatten(0, 1)
        return bounds.sigmoid()

    def bound(self, tiles: Int[Tensor, " n"]) -> tuple[Bool[Tensor, "n k"], Int[Tensor, " n"]]:
        """Class c loses to b if ``sum_q (p(q, c) - p(q, b)) m_q < 0`` for all m_q between a mask's bounds."""
        margin = self.middle[tiles] @ self.class_scores
        radius = self.radius[tiles]
        best = fast_argmax(margin)

        margin -= margin.gather(1, best[:, None]) * (1 - _MARGIN)
        for winner in best.unique().tolist():
            rows = (best == winner).nonzero()[:, 0]
            spread = (self.class_scores - self.class_scores[:, winner, None]).abs_()
            margin.index_add_(0, rows, radius[rows] @ spread)

        return margin >= 0, best

    def score(self, tiles: Int[Tensor, " n"], table: Int[Tensor, "n s"] | None) -> Float[Tensor, "n t s"]:
        """Resize, sigmoid, sum over the queries."""
        masks = torch.bmm(self.tiles.kernel(tiles), self.low[self.tiles.sources(tiles)]).sigmoid_()
        if table is None:
            return torch.mm(masks.flatten(0, 1), self.class_scores).view(*masks.shape[:2], -1)
        return torch.bmm(masks, self.by_class[table].transpose(1, 2))

    def count_floats(self, width: int) -> int:
        """Kernel, masks, the classes' probabilities, scores."""
        per_pixel = 2 * self.tiles.positions + self.queries + width
        return self.tiles.pixels * per_pixel + self.queries * (self.tiles.positions + width % self.classes)


@dataclass
class PixelScores:
    """Scores at low resolution, resized; `offset` positions before `low` are left out."""

    tiles: Tiles
    low: Float[Tensor, "p k"]
    offset: int

    def __post_init__(self) -> None:
        self.classes = self.low.shape[1]

    def sources(self, tiles: Int[Tensor, " n"]) -> Int[Tensor, "n b"]:
        """The rows of `low` that the tiles read."""
        return self.tiles.sources(tiles) - self.offset

    def bound(self, tiles: Int[Tensor, " n"]) -> tuple[Bool[Tensor, "n k"], Int[Tensor, " n"]]:
        """Class c loses to b if it does at every position that the tile reads."""
        values = self.low[self.sources(tiles)]
        best = fast_argmax(values.mean(1))
        rival = values.gather(2, best[:, None, None].expand(-1, values.shape[1], -1))
        return (values >= rival).any(1), best

    def score(self, tiles: Int[Tensor, " n"], table: Int[Tensor, "n s"] | None) -> Float[Tensor, "n t s"]:
        """Resize."""
        sources = self.sources(tiles)
        values = self.low[sources] if table is None else self.low[sources[:, :, None], table[:, None]]
        return torch.bmm(self.tiles.kernel(tiles), values)

    def count_floats(self, width: int) -> int:
        """Kernel, values at the positions, scores."""
        return self.tiles.pixels * (2 * self.tiles.positions + width) + self.tiles.positions * width


def _classify(tiles: Tiles, todo: Int[Tensor, " n"], scores: Scores, result: Tensor, limit: int) -> None:
    """Write the class of every pixel of the tiles `todo` into `result`."""
    budget = min(limit, _CACHE_BYTES) if result.device.type == "cpu" else limit
    per_tile = _FLOAT_BYTES * (3 + tiles.positions) * scores.classes

    for chunk in in_chunks(todo, per_tile, budget):
        candidates, best = scores.bound(chunk)
        counts = candidates.sum(1)
        tiles.write(result, chunk[counts == 1], best[counts == 1][:, None])

        # Ascending, so that tiles that are computed together have about as many candidates.
        ascending = counts.argsort()
        few = ascending[(counts[ascending] > 1) & (counts[ascending] <= scores.classes // _FEW)]
        for part in in_chunks(few, _FLOAT_BYTES * scores.count_floats(scores.classes // _FEW), budget):
            table = list_candidates(candidates[part])
            winners = scores.score(chunk[part], table).argmax(-1)
            tiles.write(result, chunk[part], table.gather(1, winners))

        # Beyond that, picking the candidates out costs more than computing all classes.
        many = chunk[counts > max(1, scores.classes // _FEW)]
        for part in in_chunks(many, _FLOAT_BYTES * scores.count_floats(scores.classes), budget):
            tiles.write(result, part, fast_argmax(scores.score(part, None)))
