"""Bar charts of Table 1: subnetworks compared for each target."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opentrans.errors import UserError
from opentrans.reporting.figures.style import (
    BENCHMARK_TITLES,
    STYLES,
    add_legend,
    add_panels,
    get_title,
    in_style,
    new_figure,
    sort_known,
    sort_targets,
)


def select_table1(results: pd.DataFrame) -> pd.DataFrame:
    """The runs that Table 1 shows: nothing frozen, a subnetwork with a style of its own.

    Raises:
        UserError: there is none.
    """
    selected = results[(results["freeze"] == "none") & results["subnetwork"].isin(list(STYLES))]
    if selected.empty:
        raise UserError("results", "hold no run of Table 1 (freeze none)", "evaluate the runs of Table 1 first")
    return selected


@in_style
def plot_mean(results: pd.DataFrame) -> Figure:
    """Mean mIoU over the benchmarks for each target and subnetwork; a dot is a seed.

    Only benchmarks that every run has count, so that all bars are means over the same ones.
    """
    selected = select_table1(results)

    runs = selected.groupby(["target", "subnetwork", "seed"]).ngroups
    counts = selected["benchmark"].value_counts()
    shared = selected[selected["benchmark"].isin(list(counts[counts == runs].index))]
    means = shared.groupby(["target", "subnetwork", "seed"], as_index=False)["miou"].mean()

    figure = new_figure(5.5, 3)
    axes = add_panels(figure, 1, 1)[0][0]
    _draw_bars(axes, pd.DataFrame(means))
    axes.set_ylabel(f"mean mIoU over {shared['benchmark'].nunique()} benchmarks (%)")
    add_legend(figure, [axes])
    return figure


@in_style
def plot_benchmarks(results: pd.DataFrame) -> Figure:
    """One small panel of bars for each benchmark."""
    selected = select_table1(results)
    names = sort_known(set(selected["benchmark"]), BENCHMARK_TITLES)

    columns = min(4, len(names))
    rows = -(-len(names) // columns)

    figure = new_figure(2.6 * columns, 2.2 * rows)
    grid = add_panels(figure, rows, columns)
    panels = [axes for row in grid for axes in row]

    for axes, name in zip(panels, names, strict=False):
        _draw_bars(axes, selected[selected["benchmark"] == name])
        axes.set_title(get_title(name))

    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("mIoU (%)")
    add_legend(figure, panels)
    return figure


def _draw_bars(axes: Axes, values: pd.DataFrame) -> None:
    """Grouped bars (mean over seeds) with a dot for each seed; columns target, subnetwork, seed, miou."""
    targets = sort_targets(set(values["target"]))
    kinds = [name for name in STYLES if name in set(values["subnetwork"])]

    width = 0.8 / len(kinds)
    for position, kind in enumerate(kinds):
        part = values[values["subnetwork"] == kind].groupby("target")["miou"]
        centres = [index + (position - (len(kinds) - 1) / 2) * width for index in range(len(targets))]
        heights = [float(part.get_group(name).mean()) if name in part.groups else 0.0 for name in targets]

        style = STYLES[kind]
        axes.bar(centres, heights, width, color=style.colour, hatch=style.hatch, edgecolor="white", label=kind)
        for centre, name in zip(centres, targets, strict=True):
            dots = list(part.get_group(name)) if name in part.groups else []
            axes.plot([centre] * len(dots), dots, ".", color="black", markersize=4)
    axes.set_xticks(range(len(targets)), [get_title(name) for name in targets])
