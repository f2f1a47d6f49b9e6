import shutil
import sys
from pathlib import Path

import pytest

from opentrans.errors import UserError
from opentrans.runs.paper import read_paper
from opentrans.system.files import read_json
from tools import costs_page
from tools.costs_page import get_training, list_training_readings, render

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def counts():
    return read_json(ROOT / "docs/costs.json")


@pytest.fixture(scope="module")
def paper():
    return read_paper(ROOT / "config/paper_results.csv")


def test_the_page_shows_the_recorded_counts(counts, paper):
    page = (ROOT / costs_page.PAGE).read_text()
    assert render(page, counts, paper) == page
    assert "<!-- end costs:training -->" in page


def test_the_readings_of_6_2_by_hand():
    costs = {
        "dense": {"flops": 300.0e9},
        "backbone": {"flops": 100.0e9},
        "backbone_training_flops": 20e9,
        "crop_size": 512,
        "iterations": 50_000,
        "warmup_iterations": 10_000,
        "batch_size": 20,
    }  # a forward pass of the backbone over all images: 20 P, of the head: 40 P
    paper = {"none": 60.0, "alpha": 52.0, "alpha_pruned": 30.0}
    rows = list_training_readings(costs, paper, 0.1)
    assert rows[0]["none"] == pytest.approx(60)
    assert rows[0]["alpha"] == pytest.approx(52)  # froze half of the backbone in four fifths of the iterations
    assert rows[0]["alpha_top"] == pytest.approx(52)  # so the other half is half of it too
    assert rows[0]["random"] == pytest.approx(52)
    assert rows[0]["alpha_pruned"] == pytest.approx(20 * (1.1 + 0.1 * 0.6))
    assert rows[1]["alpha_pruned"] == pytest.approx(0.2 * 60 + 0.8 * 20 * (1.1 + 0.05))
    assert rows[3]["none"] == pytest.approx(3 * 60)
    assert rows[5]["alpha_pruned"] == pytest.approx(rows[1]["alpha_pruned"] + 40)
    uneven = list_training_readings(costs, paper | {"alpha": 56.0}, 0.1)[0]
    assert [uneven[name] for name in ("random", "alpha_top", "alpha")] == pytest.approx([52, 48, 56])


def test_the_papers_five_numbers_are_met_by_a_reading_within_two_percent(counts, paper):
    theirs = get_training(paper)
    assert list(theirs.values()) == [181.4, 164.5, 172.3, 159.6, 122.2]
    nearest = list_training_readings(counts["targets"]["han"], theirs, counts["density"])[-1]
    assert [nearest[name] for name in theirs] == pytest.approx(list(theirs.values()), rel=0.02)


def test_a_block_that_does_not_exist_is_named(counts, paper):
    with pytest.raises(UserError, match="block costs:other"):
        render("<!-- begin costs:other -->\n<!-- end costs:other -->", counts, paper)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The page, its counts and the paper's values, elsewhere."""
    for path in (costs_page.PAGE, costs_page.COUNTS, costs_page.PAPER):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tool_finds_and_renews_a_page_that_somebody_edited(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["costs_page", "--check"])
    costs_page.main()
    right = costs_page.PAGE.read_text()
    costs_page.PAGE.write_text(right.replace("309.68", "1.0"))
    with pytest.raises(UserError, match=r"docs/costs\.md: does not show what docs/costs\.json holds"):
        costs_page.main()

    monkeypatch.setattr(sys, "argv", ["costs_page"])
    costs_page.main()
    assert costs_page.PAGE.read_text() == right
