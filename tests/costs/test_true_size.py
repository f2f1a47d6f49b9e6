from pathlib import Path

import pytest

from opentrans.cli import main
from opentrans.clip.pretraining import make_teacher
from opentrans.config import load_config
from opentrans.costs.comparison import format_inference
from opentrans.costs.true_size import count_target_costs
from opentrans.errors import UserError
from opentrans.runs.paper import read_paper
from opentrans.system.files import read_json

ROOT = Path(__file__).parents[2]
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def counts():
    return read_json(ROOT / "docs/costs.json")


@pytest.mark.parametrize("name", ["han", "deeplabv3", "fcclip"])
def test_pruning_saves_its_share_of_the_trunk_and_parts_fit_the_total(name):
    config = load_config([ROOT / "config/mini.yaml"])
    found = count_target_costs(config, name, make_teacher(TINY, 0), 7)
    for key in ("params", "flops"):
        saved = found["dense"][key] - found["sparse"][key]
        assert saved == pytest.approx(0.9 * found["backbone"][key], rel=2e-3)
    names = [part["part"] for part in found["parts"]]
    wholes = [part for part in found["parts"] if part["part"].count(".") == 0]
    assert {"decoder", "classifier"} <= set(names) if name == "deeplabv3" else {"head", "class_head"} <= set(names)
    assert len(names) == len(set(names))
    assert sum(part["flops"] for part in wholes) <= found["dense"]["flops"] - 0.9 * found["backbone"]["flops"]


@pytest.mark.parametrize("name", ["han", "deeplabv3", "fcclip"])
def test_at_true_size_the_savings_are_the_papers(counts, name):
    target = counts["targets"][name]
    saved = {key: target["dense"][key] - target["sparse"][key] for key in ("params", "flops")}
    assert saved["params"] / 1e6 == pytest.approx(21.2, abs=0.05)
    assert saved["flops"] / 1e9 == pytest.approx(94.6, abs=0.05)


def test_the_command_counts_prints_and_records(tmp_path, capsys, monkeypatch, counts):
    monkeypatch.setattr("opentrans.costs.true_size.count_target_costs", lambda _, name, *rest: counts["targets"][name])
    paper, record = ROOT / "config/paper_results.csv", tmp_path / "costs.json"
    words = ["--config", ROOT / "config/mini.yaml", "--paper", paper, "--record", record]
    assert main(["count-paper-costs", *map(str, words)]) == 0
    table = capsys.readouterr().out
    assert table.strip() == format_inference(counts, read_paper(paper))
    assert read_json(record)["targets"] == counts["targets"]


def test_a_cost_that_the_paper_does_not_print_is_named(counts):
    with pytest.raises(UserError, match="hold no params of t1_deeplabv3_dense"):
        format_inference(counts, {})


def test_deeplab_is_counted_as_the_paper_counted_it(counts):
    target = counts["targets"]["deeplabv3"]
    assert target["dense"]["flops"] / 1e9 == pytest.approx(241.3, abs=0.05)
    assert target["dense"]["params"] / 1e6 == pytest.approx(40.3, abs=0.1)
    settings = load_config([ROOT / "config/paper.yaml"]).targets["deeplabv3"]
    assert (settings.output_stride, settings.counted_stride, settings.multi_grid) == (16, 32, [2, 4, 8])

    # What runs has four times the positions in the last stage, and the classifier.
    assert target["run"]["flops"] > 1.2 * target["dense"]["flops"]
    for name in ("han", "fcclip"):
        assert counts["targets"][name]["run"] == counts["targets"][name]["dense"]
