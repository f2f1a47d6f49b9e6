"""One confusion matrix per run and benchmark: everything else is computed from it."""

import numpy as np


def count_confusion(prediction: np.ndarray, label: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    """Count the pixels of one image.

    Args:
        prediction: (height, width) class indices below `classes`.
        label: (height, width) class indices or `ignore`; ignored pixels are dropped.
        classes: K, the size of the vocabulary.
        ignore: the label value that is not counted.

    Returns:
        (K, K) int64; row = class in the ground truth, column = predicted class.

    Raises:
        ValueError: the two maps differ in shape, or a counted pixel holds no class index.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction is {prediction.shape}, label {label.shape}")
    ignored = label == ignore
    found = np.where(ignored, 0, prediction) if _outside(prediction, classes) else prediction
    if _outside(found, classes):
        raise ValueError(f"prediction holds a value outside 0..{classes - 1}")
    # One more row takes the ignored pixels: dropping them would copy both maps.
    extra = np.array(classes, np.promote_types(label.dtype, np.uint16))
    truth = np.minimum(label, extra) if ignore >= classes else np.where(ignored, extra, label)
    if np.any(truth < 0) or np.count_nonzero(truth == extra) != np.count_nonzero(ignored):
        raise ValueError(f"label holds a value outside 0..{classes - 1}")
    pairs = np.multiply(truth, classes, dtype=np.int64)
    pairs += found
    counts = np.bincount(pairs.reshape(-1), minlength=(classes + 1) * classes)
    return counts[: classes * classes].reshape(classes, classes)


def _outside(values: np.ndarray, classes: int) -> bool:
    return bool(values.size) and bool(values.min() < 0 or values.max() >= classes)
