"""A convolution with few weights: batch norm folded in, weights as a list, maps with a border of zeros."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from opentrans.sparse.build import Kernel
from opentrans.sparse.maps import LANES, Layout, Maps, Memory

_TILE = 8  # segments that the kernel keeps in registers at once (2, 4 or 8)
_BLOCK = 128  # rows that it packs at once: 64 KiB
_LINE = 16  # values of a cache line
_WEIGHT = np.dtype([("row", np.int32), ("value", np.float32)])


@lru_cache(maxsize=256)
def _segments(layout: Layout, shift: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Where each segment of up to 16 pixels starts in `layout`, seen from a tap `shift` up and left; its width.

    With `step` 2 a pixel is the first of 2 x 2.
    """
    height, width, edge = layout.height // step, layout.width // step, layout.border - shift
    columns = np.arange(0, width, LANES)
    rows = (np.arange(height) * step + edge) * layout.row
    starts = (rows[:, None] + columns * step + edge).ravel().astype(np.int64)
    widths = np.tile(np.minimum(LANES, width - columns), height).astype(np.int32)
    return starts, widths


class SparseConv:
    """One convolution of stride 1 as the kernel wants it."""

    def __init__(self, kernel: Kernel, weight: Tensor, bias: Tensor, dilation: int) -> None:
        self.kernel, self.dilation = kernel, dilation
        self.channels, _, self.taps, _ = weight.shape
        self.shift = (self.taps - 1) // 2 * dilation
        self.bias = bias.contiguous().numpy()
        self._rows: dict[Layout, np.ndarray] = {}

        # Rows that no output channel has a weight in are left out.
        matrix = weight.flatten(1).numpy()
        self.used = np.flatnonzero(matrix.any(0))
        matrix = matrix[:, self.used]
        channel, row = matrix.nonzero()

        # The kernel goes block by block, and in each block channel by channel.
        segment = row // _BLOCK * self.channels + channel
        order = np.argsort(segment, kind="stable")
        self.weights = np.empty(len(order), _WEIGHT)
        self.weights["row"], self.weights["value"] = (row % _BLOCK)[order], matrix[channel, row][order]

        # Where the weights of each of these pairs begin; one block even without a weight, for the bias.
        n_blocks = max(1, math.ceil(len(self.used) / _BLOCK))
        counts = np.bincount(segment, minlength=n_blocks * self.channels)
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def _get_rows(self, layout: Layout) -> np.ndarray:
        """Where the value of each input channel and tap is, counted from a segment's first value."""
        if layout not in self._rows:
            channel, tap = np.divmod(self.used, self.taps**2)
            down, right = np.divmod(tap, self.taps)
            rows = channel * layout.plane + (down * layout.row + right) * self.dilation
            self._rows = {layout: rows.astype(np.int64)}
        return self._rows[layout]

    def __call__(
        self, source: Maps, memory: Memory, border: int, relu: bool, residual: Maps | None = None, pool: int = 1
    ) -> Maps:
        """Convolve `source`; the result, in `memory`, has `border` zeros around it (`residual` likewise).

        With `pool` 2 the mean of 2 x 2 pixels is convolved (one tap only).
        """
        layout = source.layout
        result = memory.take(Layout(self.channels, layout.height // pool, layout.width // pool, border))
        (reads, widths), (writes, _) = _segments(layout, self.shift, pool), _segments(result.layout, 0)
        threads = torch.get_num_threads()
        scratch = memory.take_buffer(threads * (_BLOCK + self.channels) * _TILE * LANES + _LINE)

        self.kernel(
            source.buffer.data_ptr(), self._get_rows(layout).ctypes.data, len(self.used), _BLOCK,
            self.weights.ctypes.data, self.first.ctypes.data, self.bias.ctypes.data,
            None if residual is None else residual.buffer.data_ptr(), result.buffer.data_ptr(), result.layout.plane,
            self.channels, relu, layout.row if pool > 1 else 0, len(reads), reads.ctypes.data, writes.ctypes.data,
            widths.ctypes.data, _TILE, threads, scratch.data_ptr(),
        )  # fmt: skip
        return result


def fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the batch norm (in evaluation mode) after it."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return convolution.weight.detach() * scale[:, None, None, None], norm.bias.detach() - norm.running_mean * scale
