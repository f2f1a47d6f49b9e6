import numpy as np
import pytest
import torch

from builders import build_region_embeddings, build_teacher, draw_directions, write_prepared
from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.text import TextEmbeddings
from opentrans.config import SubnetworkRecipe
from opentrans.data.prepared import PreparedDataset
from opentrans.training.data import CropSettings, TrainingData

CLASSES, IMAGES, SIDE = 4, 6, 32


@pytest.fixture(scope="session")
def teacher():
    return build_teacher()


@pytest.fixture
def backbone(teacher):
    return ClipBackbone.of_teacher(teacher)


@pytest.fixture(scope="session")
def text():
    return TextEmbeddings(draw_directions(6, 1), torch.tensor([0, 1, 1, 2, 3, 3]))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Two classes an image, with rows between them that are ignored."""
    generator = np.random.default_rng(0)
    images, labels = [], []
    for _ in range(IMAGES):
        label = np.full((SIDE, SIDE), 255, dtype=np.uint8)
        label[: SIDE // 2], label[SIDE // 2 + 4 :] = generator.permutation(CLASSES)[:2]
        labels.append(label)
        images.append(generator.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    names = tuple((f"class {number}",) for number in range(CLASSES))
    return write_prepared(tmp_path_factory.mktemp("prepared"), images, labels, names).folder


@pytest.fixture(scope="session")
def regions(prepared):
    return build_region_embeddings(PreparedDataset.open(prepared), 2)


@pytest.fixture
def data(prepared, regions):
    return TrainingData(PreparedDataset.open(prepared), regions, CropSettings(SIDE, (0.8, 1.2)), "class", 1, seed=3)


@pytest.fixture
def recipe():
    def build(**changes):
        small = {
            "method": "imp",
            "prune_share": 0.3,
            "density": 0.2,
            "order": "train_first",
            "iterations": 2,
            "recovery_iterations": 3,
            "batch_size": 2,
            "crop_size": SIDE,
            "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.05},
        }
        return SubnetworkRecipe.model_validate(small | changes)

    return build
