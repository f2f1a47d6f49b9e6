from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from builders import ARCHITECTURE, IGNORE, write_prepared
from opentrans.clip.pretraining import make_teacher
from opentrans.clip.teacher import Architecture, Teacher
from opentrans.data.prepared import PreparedDataset
from opentrans.system.files import write_csv, write_json


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    return ARCHITECTURE


@pytest.fixture(scope="session")
def teacher(architecture) -> Teacher:
    """Random weights; the last gains, which CLIP starts at 0, are made 1 so that every layer matters."""
    torch.set_num_threads(1)
    made = make_teacher(architecture, 0)
    for name, weight in made.clip.visual.named_parameters():
        if name.endswith("bn3.weight"):
            weight.fill_(1)
    return made


@pytest.fixture
def prepared(tmp_path) -> PreparedDataset:
    """Three images of 40 x 48 pixels with two classes; the second image is wholly ignored."""
    rng = np.random.default_rng(0)
    images, labels, segments = [], [], []
    for index in range(3):
        label = np.full((40, 48), IGNORE, np.uint8)
        if index != 1:
            label[2:20, 3:30], label[25:40, 10:48] = 0, 1
        numbers = np.where(label == 1, 7, 0)
        numbers[2:20, 3:15], numbers[2:20, 15:30] = (3, 4) if index != 1 else (0, 0)

        images.append(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
        labels.append(label)
        segments.append(numbers)
    names = (("red circle", "disc"), ("sand",))
    return write_prepared(tmp_path / "prepared", images, labels, names, "toy", segments)


@pytest.fixture
def captions(tmp_path) -> Path:
    """A world of four names, plain colours, of which ``blue thing`` is never captioned."""
    rng, folder = np.random.default_rng(1), tmp_path / "captions"
    (folder / "images").mkdir(parents=True)
    colours = {
        "red thing": (220, 30, 30),
        "green thing": (30, 200, 40),
        "blue thing": (40, 50, 220),
        "sand": (200, 180, 130),
    }
    rows = []
    for index in range(48):
        name = list(colours)[index % 4]
        split = "test" if index >= 32 or name == "blue thing" else "train"
        image = np.clip(np.array(colours[name]) + rng.normal(0, 12, (64, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        caption = f"a photo of a {name}" if index % 8 < 4 else name
        kind = "crop" if index % 8 < 4 else "object"
        rows.append({"image": f"images/{index}.png", "caption": caption, "split": split, "kind": kind, "name": name})
    write_csv(folder / "captions.csv", ("image", "caption", "split", "kind", "name"), rows)
    write_json(folder / "heldout.json", {"names": list(colours), "heldout": ["blue thing"]})
    return folder
