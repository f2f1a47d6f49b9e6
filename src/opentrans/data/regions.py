"""The annotated regions of an image: one per class or one per segment (no torch: data loading uses it, too)."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage

RegionKind = Literal["class", "segment"]
_SEARCH_SIDE = 256  # the middle of a region is looked for on a map of about this size


def get_regions(
    label: Int[np.ndarray, "h w"],
    segments: Int[np.ndarray, "h w"] | None,
    kind: RegionKind,
    ignore: int,
    min_pixels: int = 1,
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Bool[np.ndarray, "n h w"]]:
    """The regions of one image, ordered by their number.

    Args:
        label: class index of each pixel, or `ignore`.
        segments: segment number of each pixel, 0 where none; None where the data set has no segments, which
            then are its classes' pixels.
        kind: ``class`` makes one region of all pixels of a class, ``segment`` one of each segment.
        ignore: label value that belongs to no region.
        min_pixels: smaller regions are left out.

    Returns:
        Region numbers (class index, or segment number), class indices, and masks. A segment's class is the most
        frequent label of its pixels; its mask leaves out the ignored ones.
    """
    labelled = label != ignore
    if kind == "class" or segments is None:
        numbers, counts = np.unique(label[labelled], return_counts=True)
        numbers = numbers[counts >= min_pixels].astype(np.int64)
        return numbers, numbers.copy(), label[None] == numbers[:, None, None]

    labelled &= segments != 0
    numbers, counts = np.unique(segments[labelled], return_counts=True)
    numbers = numbers[counts >= min_pixels].astype(np.int64)
    masks = (segments[None] == numbers[:, None, None]) & labelled
    classes = [np.bincount(label[mask]).argmax() for mask in masks]
    return numbers, np.array(classes, dtype=np.int64), masks


def get_boxes(masks: Bool[np.ndarray, "n h w"]) -> Int[np.ndarray, "n 4"]:
    """Tight boxes (top, left, bottom, right; the last two exclusive), in pixels, of masks that are not empty."""
    rows = np.asarray(masks.any(axis=2))
    columns = np.asarray(masks.any(axis=1))
    if not np.all(rows.any(axis=1)):
        raise ValueError("a mask without pixels has no box")

    first = [side.argmax(axis=1) for side in (rows, columns)]
    last = [side.shape[1] - side[:, ::-1].argmax(axis=1) for side in (rows, columns)]
    return np.stack([*first, *last], axis=1)


def find_centre(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Row and column of the point of the largest connected part of `mask` that lies farthest from its border.

    The mask must not be empty.
    """
    step = max(1, min(mask.shape) // _SEARCH_SIDE)
    coarse = mask[::step, ::step]

    # A region may lie between the points of the coarse map.
    if not coarse.any():
        step, coarse = 1, mask

    parts, count = ndimage.label(coarse)
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1 if count > 1 else 1
    depth = ndimage.distance_transform_edt(np.pad(parts == largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row) * step, int(column) * step
