import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from opentrans.reporting.figures.alphas import plot_before, plot_changes, plot_medians
from opentrans.reporting.figures.style import MOST_PANELS, RED
from opentrans.reporting.results import compute_medians


def test_figure_6_shows_each_layer_before_training_and_the_median(alphas):
    dense, ours = plot_before(alphas).axes
    lines = {str(line.get_label()): line for line in ours.lines}
    assert np.allclose(lines["alpha, mean over seeds"].get_ydata(), [3, 4, 8])
    median = lines["median over layers"]
    assert same_color(median.get_color(), RED)
    assert list(median.get_ydata()) == [4, 4]
    assert [text.get_text() for text in ours.get_xticklabels()] == ["c", "a", "b"]
    assert (dense.get_title(), ours.get_title()) == ("dense backbone: median 3.00", "ours backbone: median 4.00")


def test_a_layer_without_a_fit_has_no_point_and_no_part_in_the_median(alphas):
    alphas.loc[alphas["layer"] == "b.weight", "alpha"] = np.nan
    dense = plot_before(alphas).axes[0]
    lines = {str(line.get_label()): line for line in dense.lines}
    assert list(lines["median over layers"].get_ydata()) == [2.5, 2.5]
    assert np.isnan(lines["alpha, mean over seeds"].get_ydata()[2])
    assert set(compute_medians(alphas)["alpha"]) == {2.5, 3.0, 3.5, 4.0, 4.5}


def test_figure_7_shows_the_median_at_each_traced_iteration(alphas):
    panels = plot_medians(alphas).axes
    assert [axes.get_title() for axes in panels] == ["Han et al.", "DeepLabV3"]
    lines = {str(line.get_label()): line for line in panels[0].lines}
    assert list(lines) == ["dense", "ours"]
    assert np.allclose(lines["ours"].get_xdata(), [0, 50, 100])
    assert np.allclose(lines["ours"].get_ydata(), [4, 4.5, 5])
    assert panels[0].get_ylim()[0] == 0


def test_figure_9_joins_the_first_and_the_last_alpha_of_each_layer(alphas):
    panels = plot_changes(alphas).axes
    assert [axes.get_title() for axes in panels][:2] == [
        "Han et al., dense backbone, freeze none",
        "Han et al., ours backbone, freeze none",
    ]
    before, after = panels[1].lines
    assert np.allclose(before.get_ydata(), [3, 4, 8])
    assert np.allclose(after.get_ydata(), [4, 5, 9])
    assert len(panels[1].collections[0].get_segments()) == 3


def test_figure_9_says_how_many_runs_it_leaves_out(alphas):
    many = pd.concat([alphas.assign(freeze=f"f{number}") for number in range(2)])
    figure = plot_changes(many)
    assert len(figure.axes) == MOST_PANELS
    assert figure.get_supxlabel() == "2 more traced runs are not drawn"


@pytest.mark.parametrize("plot", [plot_before, plot_medians, plot_changes])
def test_without_traces_each_figure_says_so(alphas, plot):
    figure = plot(alphas.iloc[:0])
    assert not figure.axes
    assert "Nothing to show" in figure.texts[0].get_text()
