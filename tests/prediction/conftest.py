from pathlib import Path

import pytest
import torch

from opentrans.clip.teacher import Teacher
from opentrans.clip.text import embed_vocabulary
from opentrans.config import load_config
from opentrans.data.prepared import Vocabulary
from opentrans.models.registry import build_target
from opentrans.runs.find import name_config
from opentrans.system.files import write_text
from opentrans.training.checkpoint import save_checkpoint

KINDS = ("han", "deeplabv3", "fcclip")


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """The folder of a finished profile: one untrained run of each target, with what the workflow leaves beside it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("results") / "mini"
    config = load_config([Path("config/mini.yaml")])
    name, content = name_config(config)
    write_text(folder / name, content)
    torch.manual_seed(0)
    teacher = Teacher(config.teacher.architecture)
    teacher.save(folder / "teacher/teacher.safetensors")
    vocabulary = Vocabulary("coco", (("sky",), ("tree", "trees"), ("dog",)), 255)
    for prompts, templates in (("plain", None), ("ensemble", config.teacher.templates)):
        embed_vocabulary(teacher, vocabulary, templates).save(folder / f"text/{prompts}/coco_train.safetensors")
    for kind in KINDS:
        text = embed_vocabulary(teacher, vocabulary, config.teacher.templates if kind == "fcclip" else None)
        target = build_target(config.targets[kind], teacher, text)
        optimizer = torch.optim.SGD(target.parameters(), lr=0.1)
        path = folder / f"training/{kind}/dense/none/seed0/checkpoint.safetensors"
        save_checkpoint(path, 1, target, optimizer, {"target": kind})
    return folder
