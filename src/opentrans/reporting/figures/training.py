"""Beyond the paper: training curves of the training runs."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opentrans.reporting.figures.style import (
    Style,
    add_legend,
    add_panels,
    draw_line,
    draw_notice,
    get_styles,
    get_title,
    in_style,
    new_figure,
    sort_targets,
)

MOST_POINTS = 200


def average_bins(iterations: np.ndarray, values: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Both series averaged over bins of equal length, so that at most `most` points remain.

    The last bin may be shorter.
    """
    size = -(-len(values) // most) if len(values) else 1
    starts = np.arange(0, len(values), size)
    counts = np.diff(np.append(starts, len(values)))
    return tuple(np.add.reduceat(series, starts) / counts for series in (iterations, values))  # type: ignore[return-value]


@in_style
def plot_subnetworks(logs: pd.DataFrame) -> Figure:
    """Training loss of runs with nothing frozen: a panel for each target, a line for each subnetwork and seed."""
    return _plot(logs[logs["freeze"] == "none"], "subnetwork", "no run trains without freezing.")


@in_style
def plot_freezing(logs: pd.DataFrame) -> Figure:
    """Training loss by freeze recipe: a panel for each target and subnetwork that has several recipes."""
    several = logs.groupby(["target", "subnetwork"]).filter(lambda runs: runs["freeze"].nunique() > 1)
    return _plot(several, "freeze", "no target was trained with several freeze recipes.")


@in_style
def _plot(logs: pd.DataFrame, by: str, otherwise: str) -> Figure:
    """Panels by target (and by subnetwork, where lines are freeze recipes), one line for each `by` and seed."""
    if logs.empty:
        return draw_notice(otherwise)

    other = [] if by == "subnetwork" else ["subnetwork"]
    keys = list(dict.fromkeys(logs[["target", *other]].itertuples(index=False, name=None)))
    keys.sort(key=lambda key: (sort_targets(set(logs["target"])).index(key[0]), key[1:]))

    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    styles = get_styles(list(dict.fromkeys(logs[by])))

    figure = new_figure(1 + 2.4 * columns, 0.6 + 2.3 * rows)
    panels = [axes for row in add_panels(figure, rows, columns) for axes in row]

    for axes, key in zip(panels, keys, strict=False):
        chosen = (logs[["target", *other]] == list(key)).all(axis=1)
        _draw_curves(axes, logs[chosen], by, styles)
        axes.set_title(", ".join(get_title(str(part)) for part in key))
        axes.set_xlabel("iteration")
        axes.set_ylabel("training loss")

    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    add_legend(figure, panels)
    return figure


def _draw_curves(axes: Axes, logs: pd.DataFrame, by: str, styles: dict[str, Style]) -> None:
    for (name, _), run in logs.groupby([by, "seed"], sort=False):
        x, y = average_bins(run["iteration"].to_numpy(float), run["loss"].to_numpy(float))
        draw_line(axes, x, y, styles[str(name)], str(name), every=max(1, len(x) // 8))
