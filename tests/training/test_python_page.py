"""Every program of docs/python.md, run as it stands in a small project."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opentrans import cli
from opentrans.config import load_config
from opentrans.runs.find import name_config
from opentrans.system.files import sha256, write_text
from opentrans.training import engine

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text()
PROGRAMS = dict(re.findall(r"^## (.*?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
RESULTS = Path("results/mini")
OUTPUT = RESULTS / "training/han/ours/none/seed0/checkpoint.safetensors"
PROJECT = """
import torch
from opentrans.clip.backbone import ClipBackbone
from opentrans.clip.teacher import Teacher


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = ClipBackbone.of_teacher(Teacher.load("results/mini/teacher/teacher.safetensors"))


def build_model():
    return Model()


def loss_of(model, batch):
    return model.visual(batch)["res5"].square().mean()


batches = [torch.rand(2, 3, 64, 64) for _ in range(2)]
"""


@pytest.fixture
def folder(project, dataset, tmp_path, monkeypatch):
    """A project as the workflow leaves it, in which nothing is trained yet."""
    config = (project.folder / "config.yaml").read_text()
    often = config.replace("log_every: 1\n", "log_every: 1\n      checkpoint_every: 1\n")
    (project.folder / "config.yaml").write_text(often)
    assert cli.main(project.search()) == 0

    folder = tmp_path / "place"
    files = {
        "teacher.safetensors": RESULTS / "teacher/teacher.safetensors",
        "text.safetensors": RESULTS / "text/plain/coco_train.safetensors",
        "regions.safetensors": RESULTS / "regions/coco_train.safetensors",
        "ours/subnetwork.safetensors": RESULTS / "subnetworks/ours/seed0/subnetwork.safetensors",
        "nouns.safetensors": RESULTS / "text/nouns.safetensors",
        "config.yaml": Path("config/config.yaml"),
    }
    for source, place in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.folder / source, folder / place)
    name, content = name_config(load_config([folder / "config/config.yaml"]))
    write_text(folder / RESULTS / name, content)
    prepared = folder / "data/mini/prepared/coco/train"
    shutil.copytree(dataset.folder, prepared)
    shutil.copy(project.folder / "nouns.json", prepared)

    shutil.copy(project.folder / "ours/subnetwork.safetensors", folder / "subnetwork.safetensors")
    (folder / "my_project.py").write_text(PROJECT)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_project", raising=False)
    return folder


def run_program(heading):
    exec(compile(PROGRAMS[heading], heading, "exec"), {})


def test_the_page_has_its_programs():
    assert list(PROGRAMS) == ["A mask and a freeze plan in your model", "Train", "Use a finished run"]
    statements = re.sub(r"\(\n.*?\n\)", "()", PROGRAMS["Train"], flags=re.DOTALL)
    steps = [line for line in statements.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(steps) <= 10


def test_the_program_of_masks_and_plans_works_when_pasted(folder, capsys):
    run_program("A mask and a freeze plan in your model")
    assert re.match(r"0 weights outside the masks; [1-9]\d* layers frozen", capsys.readouterr().out)


def test_the_program_of_a_training_resumes_and_the_run_can_be_used(folder, monkeypatch, capsys):
    run_program("Train")
    whole = {path.name: sha256(path) for path in OUTPUT.parent.iterdir()}
    assert whole.keys() == {"checkpoint.safetensors", "checkpoint.safetensors.sha256", "log.csv"}
    shutil.rmtree(OUTPUT.parent)

    def fail_at_the_third(run):
        if run.iteration == 3:
            raise RuntimeError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(engine.TrainingRun, "prune", fail_at_the_third)
        with pytest.raises(RuntimeError, match="interrupted"):
            run_program("Train")
    assert not OUTPUT.exists()
    run_program("Train")
    assert {path.name: sha256(path) for path in OUTPUT.parent.iterdir()} == whole

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save("photo.jpg")
    run_program("Use a finished run")
    out = capsys.readouterr().out
    assert re.search(r"^dog: .*%\ncat: .*%\ngrass: .*%\nHan on ", out, re.MULTILINE)
