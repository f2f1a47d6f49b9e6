import pandas as pd
import pytest

from opentrans.cli import main
from opentrans.reporting.metrics import list_plot_rows, nest_metrics
from opentrans.reporting.results import RESULT_FIELDS
from opentrans.system.files import read_csv, read_json


@pytest.fixture
def results():
    """Two seeds of one model and one of another, on two benchmarks."""
    rows = [
        ("han", "dense", "none", seed, benchmark, miou)
        for seed, benchmark, miou in ((0, "coco", 10.0), (1, "coco", 20.0), (0, "pc59", 4.0), (1, "pc59", 6.0))
    ] + [("fcclip", "ours", "none", 0, "coco", 30.0)]
    names = ["target", "subnetwork", "freeze", "seed", "benchmark", "miou"]
    return pd.DataFrame(rows, columns=names)


def test_metrics_are_means_over_seeds_under_the_models_name(results):
    miou = nest_metrics(results)["miou"]
    assert miou["han"]["dense"]["none"] == {"coco": 15.0, "pc59": 5.0, "mean": 10.0}
    assert miou["fcclip"]["ours"]["none"] == {"coco": 30.0, "mean": 30.0}


def test_the_plot_has_a_bar_for_each_model_and_benchmark(results):
    bars = {row["model_benchmark"]: row["miou"] for row in list_plot_rows(results)}
    assert bars == {"han/dense/none coco": 15.0, "han/dense/none pc59": 5.0, "fcclip/ours/none coco": 30.0}


def test_the_command_writes_both_files(results, tmp_path):
    results.reindex(columns=RESULT_FIELDS).to_csv(tmp_path / "results.csv", index=False)
    words = [f"--{name}={tmp_path / file}" for name, file in (("metrics", "metrics.json"), ("plot", "miou.csv"))]
    assert main(["make-metrics", "--results", str(tmp_path / "results.csv"), *words]) == 0
    assert read_json(tmp_path / "metrics.json")["miou"]["han"]["dense"]["none"]["mean"] == 10.0
    assert len(read_csv(tmp_path / "miou.csv", ["model_benchmark", "miou"])) == 3
