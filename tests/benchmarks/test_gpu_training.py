from pathlib import Path

import pytest

from benchmarks import cost_page, gpu_training
from opentrans.config import load_config
from opentrans.system.files import read_json

ROOT = Path(__file__).parents[2]
MINI, PAPER = ROOT / "config/mini.yaml", ROOT / "config/paper.yaml"
TINY = """
teacher:
  architecture: {vision_cfg: {width: 8}, text_cfg: {width: 32, heads: 2, layers: 1}}
subnetworks:
  ours: {batch_size: 2, crop_size: 64, iterations: 1}
targets:
  han: {queries: 6, width: 32, training: &tiny {batch_size: 2, crop_size: 64}}
  deeplabv3: {width: 32, training: *tiny}
  fcclip: {queries: 6, width: 32, training: *tiny}
costs: {image_size: [64, 64]}
gpus: {run: 1, subnetwork: 1}
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The script, run on the CPU at a tiny size; returns its record and page."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "tiny.yaml").write_text(TINY)
    words = ["--config", MINI, folder / "tiny.yaml", "--repeats", 1, "--classes", 5]
    gpu_training.main(
        [str(word) for word in [*words, "--record", folder / "record.json", "--page", folder / "page.md"]]
    )
    return read_json(folder / "record.json"), (folder / "page.md").read_text()


def test_every_target_is_measured_in_every_state(measured):
    record, _ = measured
    assert set(record["targets"]) == {"han", "deeplabv3", "fcclip", "fcclip_trained"}
    for states in record["targets"].values():
        for state in ("dense", "frozen", "subnetwork", "evaluation"):
            assert states[state]["images_per_s"] > 0
        assert states["dense"]["batch_size"] == 2
    assert record["search"]["images_per_s"] > 0
    assert record["machine"]["versions"]["torch"]


def test_a_run_without_gpu_fills_no_hours(measured):
    record, page = measured
    assert record["machine"]["gpu"] is None
    assert "Not measured on a GPU yet" in page


def test_hours_are_seconds_times_iterations_times_gpus():
    config = load_config([PAPER])
    step = {"seconds": 0.36, "images_per_s": 20.0, "peak_mib": 9000.0}
    states = dict.fromkeys(("dense", "frozen", "subnetwork"), step) | {"evaluation": step | {"seconds": 0.0}, "gpus": 4}
    record = {"targets": dict.fromkeys(config.targets, states), "search": step | {"gpus": 4}}
    table = cost_page.hours(config, record)
    row = next(line for line in table.splitlines() if line.startswith("| 4 |"))
    trainings = 0.36 * 4 / 3600 * 50_000 * 0  # table 4 shows costs only
    assert row == f"| 4 | 0 | 0 | {trainings:.0f} |"
    searches = 0.36 * 4 / 3600 * 5000 * 21
    freezing = 0.36 * 4 / 3600 * 50_000
    assert next(line for line in table.splitlines() if line.startswith("| 2 |")).endswith(f"| {4 * freezing:.0f} |")
    assert cost_page.search_iterations(config, "ours") == 21 * 5000
    assert searches == pytest.approx(42)


def test_the_committed_page_is_what_the_record_says(tmp_path):
    gpu_training.main(["--page-only", "--page", str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text() == cost_page.PAGE.read_text()
