"""A convolution with few weights: batch norm folded in, weights as a list, maps with a border of zeros."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from opentrans.sparse.build import Kernel

LANES = 16
TILE = 8  # segments that the kernel keeps in registers at once (2, 4 or 8)
SLACK = LANES  # the kernel reads whole segments: values beyond the last row
WEIGHT = np.dtype([("offset", np.int32), ("value", np.float32)])


@dataclass(frozen=True)
class Layout:
    """A map of `height` x `width` pixels inside a border of `border` zeros."""

    height: int
    width: int
    border: int

    @property
    def row(self) -> int:
        """Values from one row to the next."""
        return self.width + 2 * self.border

    @property
    def plane(self) -> int:
        """Values of a channel."""
        return (self.height + 2 * self.border) * self.row

    def empty(self, channels: int) -> Tensor:
        """A buffer whose border is zero."""
        make = torch.zeros if self.border else torch.empty
        return make(channels * self.plane + SLACK)

    def view(self, buffer: Tensor, border: bool = False) -> Float[Tensor, "c h w"]:
        """The map in `buffer`, without its border."""
        maps = buffer[:-SLACK].view(-1, self.height + 2 * self.border, self.row)
        edge = 0 if border else self.border
        return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]


@lru_cache(maxsize=256)
def _segments(layout: Layout, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each segment of up to 16 pixels starts in `layout`, seen from a tap `shift` up and left; its width."""
    columns = np.arange(0, layout.width, LANES)
    edge = layout.border - shift
    rows = (np.arange(layout.height) + edge) * layout.row
    places = (rows[:, None] + columns + edge).ravel().astype(np.int64)
    widths = np.tile(np.minimum(LANES, layout.width - columns), layout.height).astype(np.int32)
    return places, widths


class SparseConv:
    """One convolution of stride 1 as the kernel wants it."""

    def __init__(self, kernel: Kernel, weight: Tensor, bias: Tensor, dilation: int) -> None:
        self.kernel, self.dilation = kernel, dilation
        self.channels, _, self.taps, _ = weight.shape
        self.shift = (self.taps - 1) // 2 * dilation
        rows = weight.flatten(1)
        self.first = np.concatenate([[0], rows.ne(0).sum(1).cumsum(0).numpy()]).astype(np.int64)
        _, column = rows.nonzero(as_tuple=True)
        self.column, self.values = column.numpy(), rows[rows != 0].numpy()
        self.bias = bias.contiguous().numpy()
        self._prepared: dict[Layout, np.ndarray] = {}

    def _weights(self, layout: Layout) -> np.ndarray:
        if layout not in self._prepared:
            channel, tap = np.divmod(self.column, self.taps**2)
            down, right = np.divmod(tap, self.taps)
            entries = np.empty(len(self.values), WEIGHT)
            entries["offset"] = channel * layout.plane + (down * layout.row + right) * self.dilation
            entries["value"] = self.values
            self._prepared = {layout: entries}
        return self._prepared[layout]

    def __call__(
        self, source: Tensor, layout: Layout, border: int, relu: bool, residual: Tensor | None = None
    ) -> tuple[Tensor, Layout]:
        """Convolve the buffer `source`; the result has `border` zeros around it (`residual` likewise)."""
        target = Layout(layout.height, layout.width, border)
        output, weights = target.empty(self.channels), self._weights(layout)
        (starts, widths), (places, _) = _segments(layout, self.shift), _segments(target, 0)
        self.kernel(
            source.data_ptr(), weights.ctypes.data, self.first.ctypes.data, self.bias.ctypes.data,
            None if residual is None else residual.data_ptr(), output.data_ptr(), target.plane, self.channels,
            relu, len(starts), starts.ctypes.data, places.ctypes.data, widths.ctypes.data, TILE,
            torch.get_num_threads(),
        )  # fmt: skip
        return output, target


def fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the batch norm (in evaluation mode) after it."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return convolution.weight.detach() * scale[:, None, None, None], norm.bias.detach() - norm.running_mean * scale
