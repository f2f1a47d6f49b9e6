from pathlib import Path

import pytest

from opentrans.cli import main
from opentrans.clip.pretraining import make_teacher
from opentrans.config import load_config
from opentrans.costs.page import get_training, read_paper, render
from opentrans.costs.paper import count_target, training_readings
from opentrans.errors import UserError
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


@pytest.fixture(scope="module")
def paper():
    return read_paper(ROOT / "config/paper_results.csv")


@pytest.mark.parametrize("name", ["han", "deeplabv3", "fcclip"])
def test_pruning_saves_its_share_of_the_trunk_and_parts_fit_the_total(name):
    config = load_config([ROOT / "config/mini.yaml"])
    found = count_target(config, name, make_teacher(TINY, 0), 7)
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


def test_the_page_shows_the_recorded_counts(counts, paper):
    page = (ROOT / "docs/costs.md").read_text()
    assert render(page, counts, paper) == page
    assert "<!-- end costs:training -->" in page


def test_the_readings_of_6_2_by_hand(paper):
    costs = {
        "dense": {"flops": 300.0e9},
        "backbone": {"flops": 100.0e9},
        "backbone_training_flops": 20e9,
        "crop_size": 512,
        "iterations": 50_000,
        "warmup_iterations": 10_000,
        "batch_size": 20,
    }  # a forward pass of the backbone over all images: 20 P, of the head: 40 P
    figures = {"none": 60.0, "alpha": 52.0, "alpha_pruned": 30.0}
    rows = training_readings(costs, figures, 0.1)
    assert rows[0]["none"] == pytest.approx(60)
    assert rows[0]["alpha"] == pytest.approx(52)  # froze half of the backbone in four fifths of the iterations
    assert rows[0]["alpha_top"] == pytest.approx(52)  # so the other half is half of it too
    assert rows[0]["random"] == pytest.approx(52)
    assert rows[0]["alpha_pruned"] == pytest.approx(20 * (1.1 + 0.1 * 0.6))
    assert rows[1]["alpha_pruned"] == pytest.approx(0.2 * 60 + 0.8 * 20 * (1.1 + 0.05))
    assert rows[3]["none"] == pytest.approx(3 * 60)
    assert rows[5]["alpha_pruned"] == pytest.approx(rows[1]["alpha_pruned"] + 40)
    uneven = training_readings(costs, figures | {"alpha": 56.0}, 0.1)[0]
    assert [uneven[name] for name in ("random", "alpha_top", "alpha")] == pytest.approx([52, 48, 56])


def test_the_papers_five_figures_are_met_by_a_reading_within_two_percent(counts, paper):
    figures = get_training(paper)
    assert list(figures.values()) == [181.4, 164.5, 172.3, 159.6, 122.2]
    nearest = training_readings(counts["targets"]["han"], figures, counts["density"])[-1]
    assert [nearest[name] for name in figures] == pytest.approx(list(figures.values()), rel=0.02)


def test_a_block_that_does_not_exist_is_named(counts, paper):
    with pytest.raises(UserError, match="block costs:other"):
        render("<!-- begin costs:other -->\n<!-- end costs:other -->", counts, paper)


def test_the_command_prints_the_recorded_counts_and_renews_the_page(tmp_path, capsys):
    page = tmp_path / "costs.md"
    page.write_text("<!-- begin costs:inference -->\nold\n<!-- end costs:inference -->\n")
    paper = str(ROOT / "config/paper_results.csv")
    words = ["--config", str(ROOT / "config/mini.yaml"), "--from-record", str(ROOT / "docs/costs.json")]
    assert main(["count-paper-costs", *words, "--paper", paper, "--page", str(page)]) == 0
    table = capsys.readouterr().out
    assert "deeplabv3" in table
    assert table.strip() in page.read_text()
