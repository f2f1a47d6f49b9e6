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
    counted = label != ignore
    truth, found = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (("label", truth), ("prediction", found)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(f"{name} holds a value outside 0..{classes - 1}")
    return np.bincount(truth * classes + found, minlength=classes * classes).reshape(classes, classes)
