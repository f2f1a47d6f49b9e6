import numpy as np
import pytest
import torch
from PIL import Image

from opentrans.clip.text import TextEmbeddings
from opentrans.data.prepared import PreparedDataset, Record, Vocabulary


@pytest.fixture
def dataset(tmp_path):
    """Two images whose red channel is 50 x the class; the second has an ignored row."""
    records = []
    for index, label in enumerate((np.repeat([[0], [1]], 4, 1), np.repeat([[2], [255]], 4, 1))):
        image = np.zeros((2, 4, 3), np.uint8)
        image[..., 0] = np.where(label == 255, 0, label * 50)
        paths = tmp_path / f"{index}.png", tmp_path / f"{index}_label.png"
        Image.fromarray(image).save(paths[0])
        Image.fromarray(label.astype(np.uint8)).save(paths[1])
        records.append(Record(str(index), *paths, None, 2, 4))
    return PreparedDataset(tmp_path, tuple(records), Vocabulary("toy", (("a",), ("b", "bee"), ("c",)), 255))


@pytest.fixture
def vocabulary():
    return TextEmbeddings(torch.eye(4), torch.tensor([0, 1, 1, 2]))
