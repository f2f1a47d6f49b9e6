"""One confusion matrix per run and benchmark: everything else is computed from it."""

import numpy as np
import torch
from jaxtyping import Int

_SHORT = 4  # pixels: where runs of equal pairs are shorter on average, merging them costs more than it saves
_SAMPLE_ROWS = 8  # that tell whether there are regions


def add_confusion(confusion: Int[np.ndarray, "k k"], prediction: np.ndarray, label: np.ndarray, ignore: int) -> None:
    """Add the pixels of one image to `confusion`; row = class in the ground truth, column = predicted class.

    Label maps are made of regions: neighbours that are equal in both are merged and counted together. Only the cells
    of pairs that occur are touched, so that the time hardly depends on the vocabulary.

    Args:
        confusion: (K, K) int64, contiguous, changed in place; K is the size of the vocabulary.
        prediction: (height, width) class indices below K.
        label: (height, width) class indices or `ignore`; ignored pixels are dropped.
        ignore: the label value that is not counted.

    Raises:
        ValueError: the two maps differ in shape, or a counted pixel holds no class index.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction is {prediction.shape}, label {label.shape}")

    # One length for all: every pixel counts once, unless neighbours are merged.
    truth, predicted, lengths = label.reshape(-1), prediction.reshape(-1), np.ones(1, np.int64)
    if _has_regions(prediction):
        truth, predicted, lengths = _merge_runs(truth, predicted)

    counted = truth != ignore
    if not counted.all():
        truth, predicted = truth[counted], predicted[counted]
        lengths = lengths[counted] if len(lengths) > 1 else lengths
    for name, values in (("label", truth), ("prediction", predicted)):
        if values.size and (values.min() < 0 or values.max() >= len(confusion)):
            raise ValueError(f"{name} holds a value outside 0..{len(confusion) - 1}")

    # In place: the index of the cell (truth, predicted) in the flat matrix.
    cells = np.multiply(truth, len(confusion), dtype=np.int64)
    cells += predicted
    np.add.at(confusion.reshape(-1, copy=False), cells, lengths)


def _has_regions(maps: np.ndarray) -> bool:
    """Whether neighbours in a row are mostly equal, judged by a few rows."""
    rows = maps[:: max(1, len(maps) // _SAMPLE_ROWS)]
    return bool(_SHORT * np.count_nonzero(rows[:, 1:] != rows[:, :-1]) <= rows.size)


def _merge_runs(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each run of equal pairs: label, prediction and length."""
    high, low = (torch.from_numpy(np.require(values, requirements="W")) for values in (truth, predicted))
    # Both values in one integer, so that a pair is compared at once.
    pairs = high.to(torch.int64, copy=True).mul_(2**32).add_(low)
    runs, lengths = (part.numpy() for part in torch.unique_consecutive(pairs, return_counts=True))
    predicted = runs.astype(np.int32)  # the low half, with its sign
    return (runs - predicted) >> 32, predicted, lengths
