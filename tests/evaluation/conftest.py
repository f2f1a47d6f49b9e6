import numpy as np
import pytest
import torch

from builders import write_prepared
from opentrans.clip.text import TextEmbeddings


@pytest.fixture
def dataset(tmp_path):
    """Two images whose red channel is 50 x the class; the second has an ignored row."""
    labels = [np.repeat([[0], [1]], 4, 1), np.repeat([[2], [255]], 4, 1)]
    images = [np.zeros((2, 4, 3), np.uint8) for _ in labels]
    for image, label in zip(images, labels, strict=True):
        image[..., 0] = np.where(label == 255, 0, label * 50)
    return write_prepared(tmp_path, images, labels, (("a",), ("b", "bee"), ("c",)), "toy")


@pytest.fixture
def vocabulary():
    return TextEmbeddings(torch.eye(4), torch.tensor([0, 1, 1, 2]))
