import pandas as pd
import pytest

from opentrans.reporting.figures.forest import FOREST_FIELDS, plot_forest
from opentrans.reporting.figures.style import GREY, RED, STYLES

NAN = float("nan")
HOLDS = ("one", "P", "greater", NAN, "points of mIoU", 5.0, 4.0, 3.0, 5.0, "holds")
FAILS = ("two", "S", "non-inferior", 1.0, "points of mIoU", NAN, -3.0, -4.0, -2.0, "does not hold")
OPEN = ("three", "A", "equivalent", 10.0, "percent", NAN, 2.0, -900.0, 904.0, "not decided")
LOST = ("four", "S", "greater", NAN, "points of mIoU", 1.5, NAN, NAN, NAN, "not decided")
COUNT = ("five", "", "less in every seed", NAN, "percent", -40.0, -42.0, NAN, NAN, "holds")


@pytest.fixture
def figure():
    return plot_forest(pd.DataFrame([HOLDS, FAILS, OPEN, LOST, COUNT], columns=FOREST_FIELDS))


def get_marks(axes):
    """Marker, colour and x of all single marks."""
    lines = [line for line in axes.lines if len(line.get_xdata()) == 1]
    return [(line.get_marker(), line.get_color(), float(line.get_xdata()[0])) for line in lines]


def get_bars(axes):
    lines = [line for line in axes.lines if line.get_marker() == "None" and line.get_linewidth() > 1.5]
    return [(line.get_color(), *map(float, line.get_xdata())) for line in lines]


def test_each_unit_has_a_panel_with_its_claims_under_their_families(figure):
    points, percent = figure.axes
    labels = [[label.get_text().partition(":")[0] for label in axes.get_yticklabels()] for axes in (points, percent)]
    assert labels == [
        ["Family P", "one", "Family S", "two", "four"],
        ["Family A", "three", "Counted, no test", "five"],
    ]
    assert [axes.get_xlabel() for axes in (points, percent)] == ["effect, points of mIoU", "effect, percent"]


def test_effect_interval_paper_margin_and_verdict_are_seen(figure):
    points, percent = figure.axes
    marks = get_marks(points)
    assert ("o", STYLES["dense"].colour, 4.0) in marks
    assert ("s", RED, -3.0) in marks
    assert [x for marker, _, x in marks if marker == "D" and x == x] == [5.0, 1.5]
    assert [x for marker, _, x in marks if marker == "|"] == [-1.0]
    assert get_bars(points) == [(STYLES["dense"].colour, 3.0, 5.0), (RED, -4.0, -2.0)]
    assert [x for marker, _, x in get_marks(percent) if marker == "|"] == [-10.0, 10.0]
    words = [text.get_text() for text in points.texts]
    assert words == ["+4  holds", "\N{MINUS SIGN}3  does not hold", "not judged"]


def test_an_interval_longer_than_the_panel_ends_in_arrows(figure):
    percent = figure.axes[1]
    low, high = percent.get_xlim()
    assert -100 < low < -42
    assert 10 < high < 100
    assert get_bars(percent) == [(GREY, low, high)]
    assert {marker for marker, _, _ in get_marks(percent)} >= {"<", ">"}


def test_a_table_without_claims_says_so():
    figure = plot_forest(pd.DataFrame(columns=FOREST_FIELDS))
    assert "no claim" in figure.texts[0].get_text()
