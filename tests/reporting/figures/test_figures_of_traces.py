import numpy as np
import pandas as pd
import pytest

from opentrans.errors import UserError
from opentrans.reporting.figures.density import plot_layers, plot_rounds
from opentrans.reporting.figures.training import average_bins, plot_freezing, plot_subnetworks
from opentrans.reporting.tidy import read_costs, read_layers, read_logs, read_rounds
from opentrans.system.files import write_csv, write_json

FIELDS = ("round", "iterations", "density", "kept", "loss", "a.weight", "b.weight")


@pytest.fixture
def subnetworks(tmp_path):
    """A dense, a pruned (two seeds) and a random subnetwork of two layers, as `find-subnetwork` writes them."""
    densities = {("dense", 0): (1, 1), ("ours", 0): (0.5, 0.1), ("ours", 1): (0.3, 0.1), ("random", 0): (0.2, 0.2)}
    for (name, seed), (a, b) in densities.items():
        folder = tmp_path / name / f"seed{seed}"
        shares = {"a.weight": a, "b.weight": b}
        layers = [{"layer": x, "weights": 10, "kept": int(10 * d), "density": d} for x, d in shares.items()]
        write_csv(folder / "layers.csv", tuple(layers[0]), layers)
        rounds = [(0, 0, 1, 20, "", 1, 1)]
        if name == "ours":
            rounds = [(1, 5, 0.6, 12, 2.0, 0.7, 0.5), (2, 10, 0.3, 6, 1.0 + seed, a, b)]
        write_csv(folder / "rounds.csv", FIELDS, [dict(zip(FIELDS, row, strict=True)) for row in rounds])
    return tmp_path


def test_density_of_each_layer_is_a_line_for_each_sparse_subnetwork(subnetworks):
    (axes,) = plot_layers(read_layers(subnetworks.glob("*/*/layers.csv"))).axes
    lines = {bars.get_label(): bars.lines[0].get_ydata() for bars in axes.containers}
    assert list(lines) == ["ours", "random"]
    assert np.allclose(lines["ours"], [40, 10])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]
    assert axes.get_ylabel() == "density (% of weights)"


def test_a_figure_of_dense_subnetworks_alone_says_so(subnetworks):
    dense = read_layers(subnetworks.glob("dense/*/layers.csv"))
    assert "dense" in plot_layers(dense).texts[0].get_text()


def test_the_course_of_the_search_shows_density_loss_and_each_layer(subnetworks):
    upper, lower, heatmap, _ = plot_rounds(read_rounds(subnetworks.glob("*/*/rounds.csv"))).axes
    (line,) = upper.lines
    assert np.allclose(line.get_xdata(), [5, 10])
    assert np.allclose(line.get_ydata(), [60, 30])
    assert np.allclose(lower.lines[0].get_ydata(), [2, 1.5])
    assert np.allclose(heatmap.images[0].get_array(), [[70, 50], [50, 10]])
    assert heatmap.get_title() == "density of each layer, ours"


def write_log(folder, target, subnetwork, freeze, seed, losses):
    rows = [{"iteration": 10 * (place + 1), "lr": 0.1, "loss": loss} for place, loss in enumerate(losses)]
    path = folder / target / subnetwork / freeze / f"seed{seed}" / "log.csv"
    write_csv(path, ("iteration", "lr", "loss"), rows)
    return path


def test_training_curves_have_a_panel_a_target_and_a_line_a_run(tmp_path):
    runs = [("han", "dense", "none", 0), ("han", "ours", "none", 0), ("han", "ours", "none", 1)]
    runs += [("deeplabv3", "dense", "none", 0), ("han", "dense", "random50", 0)]
    paths = [write_log(tmp_path, *run, [3.0 + place, 2.0]) for place, run in enumerate(runs)]
    han, deeplab = plot_subnetworks(read_logs(paths)).axes
    assert (han.get_title(), deeplab.get_title()) == ("Han et al.", "DeepLabV3")
    assert [list(line.get_ydata()) for line in han.lines] == [[3, 2], [4, 2], [5, 2]]
    assert [line.get_label() for line in han.lines] == ["dense", "ours", "ours"]
    (panel,) = plot_freezing(read_logs(paths)).axes
    assert panel.get_title() == "Han et al., dense"
    assert [line.get_label() for line in panel.lines] == ["none", "random50"]


def test_a_figure_of_freeze_recipes_without_any_says_so(tmp_path):
    logs = read_logs([write_log(tmp_path, "han", "ours", "none", 0, [1.0])])
    assert "several freeze recipes" in plot_freezing(logs).texts[0].get_text()


def test_long_curves_are_averaged_over_equal_bins():
    x, y = average_bins(np.arange(10.0), np.arange(10.0) ** 2, most=4)
    assert np.allclose(x, [1, 4, 7, 9])
    assert np.allclose(y, [(0 + 1 + 4) / 3, (9 + 16 + 25) / 3, (36 + 49 + 64) / 3, 81])
    assert [len(series) for series in average_bins(np.arange(3.0), np.arange(3.0))] == [3, 3]


def test_the_run_of_a_file_is_read_from_its_folders(tmp_path):
    path = tmp_path / "training/han/ours/none/seed12/log.csv"
    write_csv(path, ("iteration", "loss"), [{"iteration": 1, "loss": 2.0}])
    names = read_logs([path])[["target", "subnetwork", "freeze", "seed"]]
    assert names.values.tolist() == [["han", "ours", "none", 12]]
    with pytest.raises(UserError, match=r"log\.csv: does not lie in \{target\}/\{subnetwork\}/\{freeze\}/seed\{n\}/"):
        read_logs([tmp_path / "log.csv"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not readable as CSV"),
        ("iteration\n1\n", "column loss is missing"),
        ("iteration,loss\n1,low\n", "column loss does not hold numbers"),
    ],
)
def test_a_wrong_log_is_named(tmp_path, content, message):
    path = tmp_path / "han/ours/none/seed0/log.csv"
    with pytest.raises(UserError, match="no such file"):
        read_logs([path])
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_logs([path])


def test_costs_need_their_fields(tmp_path):
    write_json(tmp_path / "costs.json", {"target": "han"})
    with pytest.raises(UserError, match=r"costs\.json: field subnetwork is missing"):
        read_costs([tmp_path / "costs.json"])
    assert pd.DataFrame(read_costs([])).empty
