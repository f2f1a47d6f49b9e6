"""Feature maps as the kernel reads and writes them, and the memory they lie in."""

from dataclasses import dataclass
from threading import Lock
from weakref import finalize

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

LANES = 16
_SLACK = 2 * LANES  # the kernel reads whole segments (of pairs, where it pools): values beyond the last row
_WASTE = 2  # a buffer may be this many times as large as what it is used for


@dataclass(frozen=True)
class Layout:
    """`channels` maps of `height` x `width` pixels, each inside a border of `border` zeros."""

    channels: int
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

    @property
    def size(self) -> int:
        """Values that a buffer needs."""
        return self.channels * self.plane + _SLACK


@dataclass(frozen=True)
class Maps:
    """Maps in a buffer, which may be longer than they are."""

    buffer: Float[Tensor, " n"]
    layout: Layout

    def view(self, border: bool = False) -> Float[Tensor, "c h w"]:
        """The maps, without their border."""
        layout, edge = self.layout, 0 if border else self.layout.border
        maps = self.buffer[: layout.channels * layout.plane].view(layout.channels, -1, layout.row)
        return maps[:, edge : maps.shape[1] - edge, edge : maps.shape[2] - edge]


class Memory:
    """Buffers that are used again once nothing refers to them: a fresh page costs more than what is computed into it.

    A tensor and its views hold the array that the tensor was made from; when that array goes, its buffer is free
    again. Several threads may share a memory.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: list[np.ndarray] = []
        self._used: set[int] = set()

    def take(self, layout: Layout) -> Maps:
        """Maps with a border of zeros and anything inside."""
        maps = Maps(self.take_buffer(layout.size), layout)
        if layout.border:
            whole, edge = maps.view(border=True), layout.border
            for part in (whole[:, :edge], whole[:, -edge:], whole[:, :, :edge], whole[:, :, -edge:]):
                part.zero_()
        return maps

    def take_buffer(self, size: int) -> Float[Tensor, " n"]:
        """At least `size` values."""
        with self._lock:
            fitting = [index for index, array in enumerate(self._free) if size <= len(array) <= _WASTE * size]
            smallest = min(fitting, key=lambda index: len(self._free[index]), default=None)
            array = np.empty(size, np.float32) if smallest is None else self._free.pop(smallest)
            self._used.add(id(array))

        # The tensor holds a view, so that the view's end, not the array's, frees the buffer.
        view = array[:]
        finalize(view, self._free.append, array).atexit = False
        return torch.from_numpy(view)

    def drop_unused(self) -> None:
        """Free the buffers that were not used since the last call, for example those of a larger image."""
        with self._lock:
            self._free[:] = [array for array in self._free if id(array) in self._used]
            self._used.clear()
