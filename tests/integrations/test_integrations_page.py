"""Every program of docs/integrations.md, run as it stands beside a small `my_project`."""

import re
import shlex
import sys
from pathlib import Path

import detectron2_cases as cases
import detectron2_standin
import pytest
import torch
from host_samples import PREFIX, make_host

from opentrans.cli import build_parser
from opentrans.config import FreezeRecipe
from opentrans.freezing.planning import plan_model

PAGE = (Path(__file__).parents[2] / "docs/integrations.md").read_text()
PROJECT = """
from pathlib import Path

import torch
from detectron2_cases import make_trainer
from host_samples import make_examples, make_host
from torch.utils.data import DataLoader, TensorDataset

build_model, batches, cfg = make_host, [make_examples(4)] * 2, None
loader = DataLoader(TensorDataset(*make_examples()), 4)
dataset = [{"images": image, "labels": label} for image, label in zip(*make_examples(), strict=True)]


def loss_of(model, batch):
    return model(*batch)["loss"]


def MyTrainer(cfg):
    return make_trainer(Path("output"), 4)


try:
    import lightning.pytorch as lightning

    class LitModel(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.host = make_host()

        def training_step(self, batch, _):
            return self.host(*batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-3)
except ModuleNotFoundError:
    pass
"""


def find_blocks(language):
    """(heading, program) of each block of the page."""
    found, heading = [], ""
    for part in re.split(r"(^## .*$)", PAGE, flags=re.MULTILINE):
        heading = part.removeprefix("## ") if part.startswith("## ") else heading
        found += [(heading, program) for program in re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch, subnetwork):
    (tmp_path / "my_project.py").write_text(PROJECT)
    subnetwork.save(tmp_path / "subnetwork.safetensors")
    recipe = FreezeRecipe(method="alpha", estimator="released")
    plan_model(make_host(), recipe, prefix=PREFIX, kinds=("conv",)).write(tmp_path / "plan.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_project", raising=False)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("opentrans.integrations.detectron2")]:
        del sys.modules[name]


def test_the_page_has_a_program_for_each_framework():
    headings = [heading for heading, _ in find_blocks("python")]
    assert headings == ["Plain PyTorch", "Lightning", "Hugging Face Trainer", "detectron2", "detectron2"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(5))
def test_a_program_works_when_pasted(folder, monkeypatch, capsys, number):
    heading, program = find_blocks("python")[number]
    if heading == "Lightning":
        pytest.importorskip("lightning.pytorch", reason="lightning is not installed: pip install lightning")
    if heading == "Hugging Face Trainer":
        pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")
    if heading == "detectron2":
        detectron2_standin.install(monkeypatch)
    if "find_run" in program:
        prepare_run(folder, monkeypatch)
    exec(compile(program, heading, "exec"), {})
    output = capsys.readouterr().out
    if heading == "Plain PyTorch":
        assert re.match(r"0 weights outside the masks; \d+ layers frozen", output)
    if "find_run" in program:
        assert 0 < float(output) < 100


def prepare_run(folder, monkeypatch):
    """A run and the embeddings that the program names; what is inside does not matter here."""
    from opentrans.clip.text import TextEmbeddings
    from opentrans.evaluation import loading
    from opentrans.runs import find

    cases.make_prepared(folder / "data/mini/prepared", ["pas20"])
    TextEmbeddings(torch.eye(4, 8), torch.arange(4)).save(folder / "results/mini/text/plain/pas20_val.safetensors")
    monkeypatch.setattr(find, "find_run", lambda path: path)
    monkeypatch.setattr(loading, "load_run", lambda found: cases.Guess())


def test_every_command_of_the_page_is_understood():
    lines = [line for _, program in find_blocks("bash") for line in program.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("opentrans ")]
    assert {words[0] for words in commands} == {"plan", "import-checkpoint", "export-checkpoint"}
    for words in commands:
        assert build_parser(words[0]).parse_args(words[1:]).command == words[0]
