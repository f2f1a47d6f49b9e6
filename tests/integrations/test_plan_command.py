import numpy as np
import pytest
import torch
import weightwatcher
from torch import nn

from opentrans.cli import main
from opentrans.config import FreezeRecipe
from opentrans.errors import UserError
from opentrans.freezing.plan import FreezePlan
from opentrans.freezing.planning import fit_layers, get_layers, plan_model
from opentrans.freezing.spectra import compute_spectrum
from opentrans.integrations.named_model import build_model
from opentrans.models.locating import locate

MODULE = """
import torch
from torch import nn

class Outer:
    @staticmethod
    def build():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv1d(3, 16, 5), nn.Flatten(), nn.Linear(48, 32), nn.LayerNorm(32), nn.Linear(32, 16, bias=False)
        )

instance = Outer.build()
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "strangers_model.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv3d(9, 10, 2)
        self.up = nn.ConvTranspose2d(12, 10, 2)
        self.attention = nn.MultiheadAttention(16, 2)
        self.words = nn.Embedding(20, 16)
        self.position = nn.Parameter(torch.zeros(20, 16))
        self.norm = nn.LayerNorm(16)
        self.recurrent = nn.GRU(16, 16)


def test_a_plan_for_any_model_outside_a_project(folder, capsys):
    assert main(["plan", "--model", "strangers_model:Outer.build", "--output", "plan.csv"]) == 0
    plan = FreezePlan.read(folder / "plan.csv")
    assert [(row.layer, row.shape) for row in plan.rows] == [
        ("0.weight", (16, 3, 5)), ("2.weight", (32, 48)), ("4.weight", (16, 32))
    ]  # fmt: skip
    assert len(plan.frozen) == 1
    assert min(plan.rows, key=lambda row: row.alpha).frozen
    assert "1 of 3 layers frozen" in capsys.readouterr().out


def test_weights_from_a_file_and_a_part_of_the_model(folder):
    model = build_model("strangers_model:instance")
    with torch.no_grad():
        model[2].weight.copy_(torch.linspace(-1, 1, 48 * 32).view(32, 48).sin() + torch.eye(32, 48))
    torch.save(model.state_dict(), "weights.pt")
    words = ["plan", "--model", "strangers_model:Outer.build", "--weights", "weights.pt", "--estimator", "released"]
    assert main([*words, "--layers", "linear", "--ratio", "1", "--output", "plan.csv"]) == 0
    expected = plan_model(model, FreezeRecipe(method="alpha", ratio=1, estimator="released"), kinds=("linear",))
    found = FreezePlan.read(folder / "plan.csv")
    assert [row.layer for row in found.rows] == ["2.weight", "4.weight"]
    assert [row.alpha for row in found.rows] == pytest.approx([row.alpha for row in expected.rows], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("strangers_model", "is not MODULE:FACTORY"),
        ("no_such_module_at_all:build", "module no_such_module_at_all cannot be imported"),
        ("strangers_model:Outer.built", "there is no built (nearest names: build)"),
        ("strangers_model:number", "gives a int, not a torch module"),
    ],
)
def test_a_wrong_model_is_one_line(folder, capsys, name, words):
    assert main(["plan", "--model", name, "--output", "plan.csv"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--ratio", "2"], "--ratio 2.0: is not a share"),
        (["--weights", "none.pt"], "none.pt: no such file"),
        (["--weights", "strangers_model.py"], "not a file of weights"),
        (["--prefix", "3"], "module '3' has no conv or linear layer"),
    ],
)
def test_wrong_options_are_one_line(folder, capsys, change, words):
    assert main(["plan", "--model", "strangers_model:instance", "--output", "plan.csv", *change]) == 2
    assert words in capsys.readouterr().err


def test_every_kind_of_layer_with_a_spectrum_is_planned():
    shapes = {name: tuple(weight.shape) for name, weight in get_layers(locate(Everything())).items()}
    assert shapes == {
        "convolution.weight": (10, 9, 2, 2, 2),
        "up.weight": (12, 10, 2, 2),
        "attention.in_proj_weight": (48, 16),
        "attention.out_proj.weight": (16, 16),
    }
    assert set(get_layers(locate(Everything()), ("conv",))) == {"convolution.weight", "up.weight"}


def test_the_spectrum_of_a_matrix_is_that_of_its_singular_values():
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    expected = np.sort(np.linalg.svd(weight.double().numpy(), compute_uv=False) ** 2) / 2
    np.testing.assert_allclose(compute_spectrum(weight[..., None, None]), expected, rtol=1e-10)


def test_alpha_of_a_linear_layer_is_weightwatchers(capfd):
    torch.manual_seed(1)
    layer = nn.Linear(64, 96)
    with torch.no_grad():
        layer.weight.mul_(torch.linspace(0.1, 4, 64) ** 2)
    expected = weightwatcher.WeightWatcher(model=nn.Sequential(layer)).analyze()["alpha"].iloc[0]
    (found,) = fit_layers({"weight": layer.weight}, "weightwatcher")
    assert found.alpha == pytest.approx(expected, rel=1e-6)
    assert found.shape == (96, 64)


def test_a_model_without_layers_is_refused():
    with pytest.raises(UserError, match="has no conv or linear layer"):
        plan_model(nn.LayerNorm(3), FreezeRecipe(method="alpha"))
