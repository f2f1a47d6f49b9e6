"""Mean intersection over union from a confusion matrix, with both denominators in use."""

from typing import Literal, get_args

import numpy as np

Denominator = Literal["present", "union"]
DENOMINATORS: tuple[Denominator, ...] = get_args(Denominator)


def mean_iou(confusion: np.ndarray, denominator: Denominator = "present") -> tuple[float, np.ndarray]:
    """Mean IoU and the IoU of each class.

    `present` averages over the classes that occur in the ground truth (detectron2 since July 2022); `union` also
    over classes that are only predicted, whose IoU is 0 (detectron2 v0.6).

    Args:
        confusion: (K, K) pixel counts, row = ground truth, column = prediction.
        denominator: which classes the mean is taken over.

    Returns:
        The mean in percent and the K per-class values in percent; NaN where a class (or no class at all) is counted.
    """
    hits = np.diagonal(confusion).astype(np.float64)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    counted = truth > 0 if denominator == "present" else (truth > 0) | (predicted > 0)
    per_class = np.full(len(hits), np.nan)
    per_class[counted] = 100 * hits[counted] / (truth + predicted - hits)[counted]
    return (float(per_class[counted].mean()) if counted.any() else float("nan")), per_class
