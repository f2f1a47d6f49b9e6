import numpy as np
import pandas as pd
import pytest

from opentrans.errors import UserError
from opentrans.reporting.figures.costs import find_sweep, join_points, list_paper_points, plot_density, plot_flops
from opentrans.reporting.figures.style import STYLES
from opentrans.reporting.figures.table1 import plot_benchmarks, plot_mean
from opentrans.runs.paper import read_paper


def get_markers(axes):
    """(x, y) of the points that are drawn with a marker: the joining lines have none."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "", "_")]
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines)


def test_bars_of_table_1_are_means_over_seeds_and_benchmarks(results):
    (axes,) = plot_mean(results).axes
    heights = {str(bars.get_label()): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"dense": [45.5, 50.5], "ours": [40.5, 45.5], "random": [25.5, 30.5]}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["Han et al.", "DeepLabV3"]
    assert axes.get_ylabel() == "mean mIoU over 2 benchmarks (%)"
    dots = sorted(float(y) for line in axes.lines for y in line.get_ydata())
    assert len(dots) == 12
    assert dots[-1] == 51.0


def test_bars_average_only_over_benchmarks_that_every_run_has(results):
    missing = (results["target"] == "han") & (results["subnetwork"] == "ours") & (results["benchmark"] == "coco")
    (axes,) = plot_mean(results[~missing]).axes
    assert axes.get_ylabel() == "mean mIoU over 1 benchmarks (%)"
    assert axes.containers[0][0].get_height() == 40.5


def test_each_benchmark_has_a_panel_with_its_name_in_the_papers_order(results):
    panels = plot_benchmarks(results).axes
    assert [axes.get_title() for axes in panels] == ["COCO", "PC-59"]
    assert [bar.get_height() for bar in panels[1].containers[0]] == [40.5, 45.5]


def test_table_1_needs_a_run_without_freezing(results):
    with pytest.raises(UserError, match="hold no run of Table 1"):
        plot_mean(results.assign(freeze="alpha_bottom50"))


def test_points_join_quality_and_costs_of_runs_that_have_all_benchmarks(results, costs):
    points = join_points(results, costs, ["pc59", "coco"])
    assert len(points) == 12
    first = points[(points["target"] == "han") & (points["subnetwork"] == "ours") & (points["seed"] == 1)].iloc[0]
    assert (first["miou"], first["flops"], first["density"]) == (41.0, 45e6, 0.1)
    assert join_points(results, costs, ["pc59", "cityscapes"]).empty


def test_figure_1_shows_each_target_and_backbone_beside_the_papers(results, costs, experiments, paper_path):
    paper = list_paper_points(read_paper(paper_path), experiments, "pc59")
    left, right = plot_flops(join_points(results, costs, ["pc59"]), paper, "pc59").axes
    ours = [(45.0, score + 5 * target + 0.5) for target in (0, 1) for score in (35, 20)]
    assert np.allclose(get_markers(left), sorted([*ours, (80.0, 40.5), (80.0, 45.5)]))
    assert (173.3, 35.1) in get_markers(right)
    assert len(get_markers(right)) == 9
    assert left.get_xlabel() == "FLOPs of one image (M multiply-accumulates)"
    assert right.get_xlabel() == "FLOPs of one image (G multiply-accumulates)"
    assert left.get_ylabel() == "mIoU on PC-59 (%)"
    assert "quoted" in right.get_title()


def test_figure_1_has_one_panel_without_rows_of_the_papers_table_1(results, costs, experiments, paper_path):
    rest = [row for row in experiments if row.table != 1]
    paper = list_paper_points(read_paper(paper_path), rest, "pc59")
    assert len(plot_flops(join_points(results, costs, ["pc59"]), paper, "pc59").axes) == 1


def test_figure_1_leaves_frozen_and_distilled_runs_out(results, costs, experiments, paper_path):
    paper = list_paper_points(read_paper(paper_path), experiments, "pc59")
    points = join_points(results, costs, ["pc59"])
    frozen = points[points["subnetwork"] == "ours"].assign(freeze="alpha_bottom50", miou=99.0)
    both = plot_flops(pd.concat([points, frozen]), paper, "pc59").axes[0]
    assert get_markers(both) == get_markers(plot_flops(points, paper, "pc59").axes[0])
    figure = plot_flops(frozen, paper, "pc59")
    assert not figure.axes
    assert "Nothing to show" in figure.texts[0].get_text()


def test_a_sweep_holds_recipes_that_differ_in_density_alone(config):
    ours = config.subnetworks["ours"]
    more = {
        "ours_d30": ours.model_copy(update={"density": 0.3}),
        "ours_t18": ours.model_copy(update={"iterations": 18}),
    }
    sweep = find_sweep({**config.subnetworks, **more})
    assert sweep["ours_d30"] == "ours"
    assert "ours_t18" not in sweep
    assert sweep["random"] == "random"


def test_quality_against_density_joins_the_densities_of_one_recipe(results, costs):
    points = join_points(results, costs, ["pc59", "coco"])
    sparse = points[points["subnetwork"] == "ours"]
    middle = sparse.assign(subnetwork="ours_d30", density=0.3, miou=50.0)
    sweep = {"dense": "dense", "random": "random", "ours": "ours", "ours_d30": "ours"}
    panels = plot_density(pd.concat([points, middle]), sweep, 2).axes
    assert [axes.get_title() for axes in panels] == ["Han et al.", "DeepLabV3"]
    lines = {str(line.get_label()): line for line in panels[0].lines}
    assert np.allclose(lines["ours"].get_xdata(), [10, 30])
    assert np.allclose(lines["ours"].get_ydata(), [40.5, 50])
    assert lines["random"].get_color() == STYLES["random"].colour
    assert panels[0].get_xlabel() == "density of the backbone (%)"


def test_one_density_alone_is_no_figure(results, costs):
    points = join_points(results, costs, ["pc59"]).assign(density=0.1)
    assert "same density" in plot_density(points, {"ours": "ours"}, 1).texts[0].get_text()
