import numpy as np
import pytest
import torch
from PIL import Image

from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.teacher import Teacher
from opentrans.clip.text import TextEmbeddings
from opentrans.config import SubnetworkRecipe
from opentrans.data.prepared import INDEX_FIELDS, PreparedDataset, Vocabulary
from opentrans.system.files import write_csv
from opentrans.training.data import CropSettings, TrainingData

ARCHITECTURE = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
CLASSES, IMAGES, SIDE = 4, 6, 32


@pytest.fixture(scope="session")
def teacher():
    torch.manual_seed(0)
    return Teacher(ARCHITECTURE)


@pytest.fixture
def backbone(teacher):
    return ClipBackbone.of_teacher(teacher)


@pytest.fixture(scope="session")
def text():
    rows = torch.nn.functional.normalize(torch.randn(6, 32, generator=torch.Generator().manual_seed(1)), dim=-1)
    return TextEmbeddings(rows, torch.tensor([0, 1, 1, 2, 3, 3]))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    generator = np.random.default_rng(0)
    rows = []
    for index in range(IMAGES):
        label = np.full((SIDE, SIDE), 255, dtype=np.uint8)
        label[: SIDE // 2], label[SIDE // 2 + 4 :] = generator.permutation(CLASSES)[:2]
        Image.fromarray(generator.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        Image.fromarray(label).save(folder / f"{index}_label.png")
        row = (str(index), f"{index}.png", f"{index}_label.png", "", SIDE, SIDE, "", "")
        rows.append(dict(zip(INDEX_FIELDS, row, strict=True)))
    write_csv(folder / "index.csv", INDEX_FIELDS, rows)
    Vocabulary("coco", tuple((f"class {number}",) for number in range(CLASSES)), 255).write(folder / "vocabulary.json")
    return folder


@pytest.fixture(scope="session")
def regions(prepared):
    dataset = PreparedDataset.open(prepared)
    present = [(index, int(c)) for index in range(IMAGES) for c in np.unique(dataset.label(index)) if c < CLASSES]
    vectors = torch.randn(len(present), 32, generator=torch.Generator().manual_seed(2))
    record, classes = (torch.tensor(column) for column in zip(*present, strict=True))
    return RegionEmbeddings(
        torch.nn.functional.normalize(vectors, dim=-1), record, classes, classes.clone(), "class", "crop", IMAGES
    )


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
            "iterations": 2,
            "recovery_iterations": 3,
            "batch_size": 2,
            "crop_size": SIDE,
            "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.05},
        }
        return SubnetworkRecipe.model_validate(small | changes)

    return build
