"""An image cut into tiles, each with the few low-resolution positions that bilinear resizing mixes into it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

MapSize = tuple[int, int]
_TILE = 8  # pixels a side
_BLOCK = 32  # classes whose maximum is taken first: `argmax` alone is ten times slower than `amax`


@dataclass(frozen=True)
class Frame:
    """What a low-resolution map covers: `padded` (height, width) pixels, whose top left part is the image."""

    padded: MapSize
    image: MapSize


def interpolation_matrix(target: int, source: int, device: torch.device) -> Float[Tensor, "target source"]:
    """The matrix that resizes a line of `source` values linearly to `target`, as `F.interpolate` does.

    Bilinear interpolation (``align_corners=False``) is separable: one such matrix for rows, one for columns.
    """
    identity = torch.eye(source, device=device)[None]
    return F.interpolate(identity, size=target, mode="linear", align_corners=False)[0].T


def resize_matrices(low: MapSize, frame: Frame | None, size: MapSize, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices for rows (height x h) and columns (width x w) that take a map from `low` to `size`.

    With a `frame` the map is first resized to `padded`, cut to the image, then resized to `size`.
    """
    matrices = []
    for axis in (0, 1):
        if frame is None:
            matrices.append(interpolation_matrix(size[axis], low[axis], device))
            continue

        to_image = interpolation_matrix(frame.padded[axis], low[axis], device)[: frame.image[axis]]
        matrices.append(interpolation_matrix(size[axis], frame.image[axis], device) @ to_image)

    return matrices[0], matrices[1]


@dataclass(frozen=True)
class Axis:
    """One axis in n tiles of t pixels; b low-resolution positions are mixed into each.

    The last tile overlaps the one before it where the size is no multiple of t.
    """

    pixels: Int[Tensor, "n t"]
    sources: Int[Tensor, "n b"]
    weights: Float[Tensor, "n t b"]

    @classmethod
    def of_matrix(cls, matrix: Float[Tensor, "target source"]) -> "Axis":
        """Cut the rows of a resizing matrix."""
        target, source = matrix.shape
        tile = min(_TILE, target)
        line = torch.arange(target, device=matrix.device)
        pixels = line[::tile].clamp(max=target - tile)[:, None] + line[:tile]
        rows = matrix[pixels]

        used = rows.ne(0).any(1)
        first = used.int().argmax(1)
        last = source - used.flip(1).int().argmax(1)

        # All tiles get as many positions as the widest needs; the others' further ones have weight 0.
        width = int((last - first).max())
        sources = first.clamp(max=source - width)[:, None] + torch.arange(width, device=matrix.device)
        return cls(pixels, sources, rows.gather(2, sources[:, None].expand(-1, tile, -1)))

    def bound(self, values: Tensor, dim: int, largest: bool) -> Tensor:
        """The largest (or smallest) value along `dim` that each tile reads: no resized value passes it."""
        pick = torch.maximum if largest else torch.minimum
        bound = values.index_select(dim, self.sources[:, 0])
        for source in self.sources.T[1:]:
            bound = pick(bound, values.index_select(dim, source))
        return bound


@dataclass(frozen=True)
class Tiles:
    """An image's tiles, numbered row by row."""

    rows: Axis
    columns: Axis
    low_width: int

    @classmethod
    def of_size(cls, low: MapSize, frame: Frame | None, size: MapSize, device: torch.device) -> "Tiles":
        """Tiles of an image of `size`, resized from maps of size `low` (see `resize_matrices`)."""
        rows, columns = resize_matrices(low, frame, size, device)
        return cls(Axis.of_matrix(rows), Axis.of_matrix(columns), low[1])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows.pixels) * len(self.columns.pixels)

    @property
    def pixels(self) -> int:
        """Pixels of one tile."""
        return self.rows.pixels.shape[1] * self.columns.pixels.shape[1]

    @property
    def positions(self) -> int:
        """Low-resolution positions that one tile reads."""
        return self.rows.sources.shape[1] * self.columns.sources.shape[1]

    def all(self) -> Int[Tensor, " n"]:
        """The numbers of all tiles."""
        return torch.arange(len(self), device=self.rows.pixels.device)

    def strips(self, low_rows: int) -> Iterator[tuple[Int[Tensor, " n"], slice]]:
        """Tiles row by row, as many rows together as read at most `low_rows` low-resolution rows (at least one)."""
        first = self.rows.sources[:, 0].tolist()
        last = (self.rows.sources[:, -1] + 1).tolist()
        across = len(self.columns.pixels)

        start = 0
        for stop in range(1, len(first) + 1):
            if stop == len(first) or last[stop] - first[start] > low_rows:
                yield self.all()[start * across : stop * across], slice(first[start], last[stop - 1])
                start = stop

    def _split(self, tiles: Int[Tensor, " n"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Row and column of each tile."""
        across = len(self.columns.pixels)
        return tiles.div(across, rounding_mode="floor"), tiles % across

    def kernel(self, tiles: Int[Tensor, " n"]) -> Float[Tensor, "n t b"]:
        """The weights of `sources` in every pixel of `tiles`."""
        row, column = self._split(tiles)
        kernel = torch.einsum("ntb,nuc->ntubc", self.rows.weights[row], self.columns.weights[column])
        return kernel.flatten(3).flatten(1, 2)

    def sources(self, tiles: Int[Tensor, " n"]) -> Int[Tensor, "n b"]:
        """The low-resolution positions (row x width + column) that `tiles` read."""
        row, column = self._split(tiles)
        return (self.rows.sources[row][:, :, None] * self.low_width + self.columns.sources[column][:, None]).flatten(1)

    def write(self, image: Int[Tensor, "height width"], tiles: Int[Tensor, " n"], values: Int[Tensor, "n t"]) -> None:
        """Put values at the pixels of `tiles`: one for each pixel, or one for all pixels of a tile."""
        row, column = self._split(tiles)
        rows, columns = self.rows.pixels[row], self.columns.pixels[column]
        shape = (len(tiles), rows.shape[1], columns.shape[1])
        values = values.view(shape) if values.shape[1] == self.pixels else values[:, :, None].expand(shape)

        image[rows[:, :, None], columns[:, None]] = values


def fast_argmax(scores: Float[Tensor, "*n k"]) -> Int[Tensor, "*n"]:
    """`argmax` over the last axis (the first of equal values): the best block of classes, then the best within it."""
    whole = scores.shape[-1] // _BLOCK * _BLOCK
    if whole < 2 * _BLOCK:
        return scores.argmax(-1)

    blocks = scores[..., :whole].unflatten(-1, (-1, _BLOCK))
    best = blocks.amax(-1)
    block = best.argmax(-1, keepdim=True)
    inside = blocks.gather(-2, block[..., None].expand(*block.shape, _BLOCK)).squeeze(-2)

    result: Tensor = block.squeeze(-1) * _BLOCK + inside.argmax(-1)
    if whole < scores.shape[-1]:
        value, position = scores[..., whole:].max(-1)
        result = torch.where(value > best.amax(-1), position + whole, result)

    return result


def list_candidates(candidates: Bool[Tensor, "n k"]) -> Int[Tensor, "n s"]:
    """The classes marked in each row (at least one), ascending; shorter rows repeat their last one."""
    row, class_index = candidates.nonzero(as_tuple=True)
    counts = candidates.sum(1)
    rank = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    table = torch.zeros(len(counts), int(counts.max()), dtype=torch.long, device=row.device)
    table[row, rank] = class_index
    return table.cummax(1).values


def in_chunks(tiles: Int[Tensor, " n"], bytes_each: int, budget: int) -> Iterator[Int[Tensor, " m"]]:
    """Tiles in chunks whose intermediate tensors stay within `budget` bytes (at least one tile)."""
    return iter(tiles.split(max(1, budget // bytes_each)) if len(tiles) else ())
