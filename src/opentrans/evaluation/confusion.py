"""One confusion matrix per run and benchmark: everything else is computed from it."""

import numpy as np
from jaxtyping import Int

SHORT = 4  # pixels: where runs of equal pairs are shorter on average, finding them costs more than it saves


def add_confusion(confusion: Int[np.ndarray, "k k"], prediction: np.ndarray, label: np.ndarray, ignore: int) -> None:
    """Add the pixels of one image to `confusion`; row = class in the ground truth, column = predicted class.

    Label maps are made of regions: neighbours that are equal in both are found by two comparisons and counted
    together. Only the cells of the classes that occur are touched, so the time hardly depends on the vocabulary.

    Args:
        confusion: (K, K) int64, changed in place; K is the size of the vocabulary.
        prediction: (height, width) class indices below K.
        label: (height, width) class indices or `ignore`; ignored pixels are dropped.
        ignore: the label value that is not counted.

    Raises:
        ValueError: the two maps differ in shape, or a counted pixel holds no class index.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction is {prediction.shape}, label {label.shape}")
    found, truth, lengths = _merge_runs(prediction.reshape(-1), label.reshape(-1))
    counted = truth != ignore
    if not counted.all():
        found, truth = found[counted], truth[counted]
        lengths = None if lengths is None else lengths[counted]
    for name, values in (("label", truth), ("prediction", found)):
        if values.size and (values.min() < 0 or values.max() >= len(confusion)):
            raise ValueError(f"{name} holds a value outside 0..{len(confusion) - 1}")
    if lengths is None:
        confusion += _count_pairs(truth, found, confusion.shape)
    else:
        (rows, truth), (columns, found) = (_renumber(values, len(confusion)) for values in (truth, found))
        confusion[np.ix_(rows, columns)] += _count_pairs(truth, found, (len(rows), len(columns)), lengths)


def _count_pairs(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...], lengths: np.ndarray | None = None
) -> Int[np.ndarray, "rows columns"]:
    """How many pixels each pair has; lengths are summed as doubles, exact below 2^53 pixels."""
    pairs = np.multiply(rows, shape[1], dtype=np.int64)
    pairs += columns
    return np.bincount(pairs, lengths, shape[0] * shape[1]).astype(np.int64, copy=False).reshape(shape)


def _merge_runs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """One value for each run of equal pairs, and its length; all values and None where that is hardly fewer."""
    changes = first[1:] != first[:-1]
    changes |= second[1:] != second[:-1]
    if SHORT * (np.count_nonzero(changes) + 1) > len(first):
        return first, second, None
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return first[starts], second[starts], np.diff(starts, append=len(first))


def _renumber(values: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes that occur in `values`, ascending, and for each value its place among them."""
    occurs = np.zeros(classes, bool)
    occurs[values] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[values]
