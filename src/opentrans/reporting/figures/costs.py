"""What quality costs: mIoU against FLOPs (Figure 1) and against density (beyond the paper)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opentrans.config import SubnetworkRecipe
from opentrans.reporting.figures.style import (
    BLACK,
    GREY,
    MARKERS,
    STYLES,
    Style,
    add_legend,
    add_panels,
    choose_flops_unit,
    draw_line,
    draw_notice,
    get_styles,
    get_title,
    in_style,
    new_figure,
    sort_targets,
)
from opentrans.reporting.tidy import RUN_KEYS
from opentrans.runs.paper import PaperRow
from opentrans.runs.table import Experiment

_SHOWN = ["dense", "random", "ours"]


def join_points(results: pd.DataFrame, costs: pd.DataFrame, benchmarks: Sequence[str]) -> pd.DataFrame:
    """One row a run that has all `benchmarks` and costs: its names, miou (their mean), and the columns of `costs`."""
    wide = results[results["benchmark"].isin(benchmarks)].pivot(index=RUN_KEYS, columns="benchmark", values="miou")
    means = wide.reindex(columns=list(benchmarks)).dropna().mean(axis=1).rename("miou").reset_index()
    return means.merge(costs, on=RUN_KEYS, validate="one_to_one")


def list_paper_points(paper: Mapping[str, PaperRow], experiments: Sequence[Experiment], benchmark: str) -> pd.DataFrame:
    """The paper's Table 1 as points: target, subnetwork, miou on `benchmark` (percent), flops."""
    points = []
    for row in experiments:
        values = paper[row.id].values if row.id in paper else {}
        if row.table == 1 and {benchmark, "flops"} <= values.keys():
            miou, flops = values[benchmark], values["flops"] * 1e9  # the paper prints G
            points.append({"target": row.target, "subnetwork": row.subnetwork, "miou": miou, "flops": flops})
    return pd.DataFrame(points)


@in_style
def plot_flops(points: pd.DataFrame, paper: pd.DataFrame, benchmark: str) -> Figure:
    """Figure 1: mIoU on `benchmark` against the FLOPs of one image, this run's panel beside the paper's.

    Args:
        points: `join_points` of runs with nothing frozen.
        paper: `list_paper_points`; empty where no experiment is one of the paper's Table 1, which then has no panel.
        benchmark: what `miou` is measured on.
    """
    ours = points[(points["freeze"] == "none") & points["subnetwork"].isin(_SHOWN)] if len(points) else points
    if ours.empty:
        return draw_notice(f"no run with costs is evaluated on {get_title(benchmark)}.")

    panels = [("this run", ours)]
    if not paper.empty:
        panels.append(("the paper's values, quoted", paper))
    figure = new_figure(3.5 * len(panels), 3.2)

    # Each panel has a unit of its own: the mini world counts in M, the paper in G.
    for axes, (title, values) in zip(add_panels(figure, 1, len(panels))[0], panels, strict=True):
        unit, factor = choose_flops_unit(list(values["flops"]))
        _draw_points(axes, values.assign(flops=values["flops"] / factor))
        axes.set_title(title)
        axes.set_xlabel(f"FLOPs of one image ({unit} multiply-accumulates)")
        axes.set_ylabel(f"mIoU on {get_title(benchmark)} (%)")
        axes.margins(0.12)

    add_legend(figure, [], extra=_make_legend(ours))
    return figure


def _draw_points(axes: Axes, values: pd.DataFrame) -> None:
    """A point for each target and subnetwork (mean over seeds, bar: standard deviation), dense joined to ours."""
    for target in sort_targets(set(values["target"])):
        part = values[values["target"] == target].groupby("subnetwork")
        centres = {str(name): (group["flops"].mean(), group["miou"].mean()) for name, group in part}
        if {"dense", "ours"} <= centres.keys():
            ends = zip(centres["dense"], centres["ours"], strict=True)
            axes.plot(*ends, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        for name, group in part:
            spread = float(group["miou"].std()) if len(group) > 1 else None
            axes.errorbar(*centres[str(name)], yerr=spread, zorder=2, **_mark(target, STYLES[str(name)]))


def _mark(target: str, style: Style) -> dict[str, Any]:
    """A marker that shows the target by its shape and the subnetwork by colour and filling."""
    return {
        "marker": MARKERS.get(target, "P"),
        "color": style.colour,
        "fillstyle": style.fill,
        "markersize": 7,
        "linestyle": "",
        "capsize": 2,
    }


def _make_legend(values: pd.DataFrame) -> list[Line2D]:
    targets = sort_targets(set(values["target"]))
    shapes = [
        Line2D([], [], marker=MARKERS.get(name, "P"), color=BLACK, linestyle="", label=get_title(name))
        for name in targets
    ]
    kinds = [
        Line2D([], [], marker="D", color=style.colour, fillstyle=style.fill, linestyle="", label=name)
        for name, style in get_styles(set(values["subnetwork"])).items()
    ]
    return [*shapes, *kinds]


def find_sweep(recipes: Mapping[str, SubnetworkRecipe]) -> dict[str, str]:
    """Which recipes differ from a basic one in nothing but density: recipe's name -> the basic one's name."""
    basic = {name: recipe.model_copy(update={"density": 0}) for name, recipe in recipes.items() if name in STYLES}
    return {
        name: family
        for name, recipe in recipes.items()
        for family, other in basic.items()
        if recipe.model_copy(update={"density": 0}) == other
    }


@in_style
def plot_density(points: pd.DataFrame, sweep: Mapping[str, str], benchmarks: int) -> Figure:
    """Mean mIoU against the density of the subnetwork, a panel for each target.

    Args:
        points: `join_points`, with a column `density` (0..1).
        sweep: `find_sweep`; subnetworks outside it are left out, they differ in more than density.
        benchmarks: over how many benchmarks `miou` is the mean.
    """
    chosen = points[(points["freeze"] == "none") & points["subnetwork"].isin(list(sweep))] if len(points) else points
    if chosen.empty or chosen["density"].nunique() < 2:
        return draw_notice("all evaluated subnetworks have the same density.")

    chosen = chosen.assign(family=chosen["subnetwork"].map(dict(sweep)))
    targets = sort_targets(set(chosen["target"]))

    figure = new_figure(1.0 + 2.2 * len(targets), 3)
    panels = add_panels(figure, 1, len(targets), sharey=True)[0]

    for axes, target in zip(panels, targets, strict=True):
        for family, style in get_styles(set(chosen["family"])).items():
            part = chosen[(chosen["target"] == target) & (chosen["family"] == family)].groupby("subnetwork")
            means = part[["density", "miou"]].mean().sort_values("density")
            draw_line(axes, 100 * means["density"], means["miou"], style, family)

        axes.set_xscale("log")
        axes.set_xticks([10, 20, 50, 100], ["10", "20", "50", "100"])
        axes.set_xticks([], minor=True)
        axes.set_xlim(min(8.0, 80 * chosen["density"].min()), 125)
        axes.set_title(get_title(target))
        axes.set_xlabel("density of the backbone (%)")

    panels[0].set_ylabel(f"mean mIoU over {benchmarks} benchmarks (%)")
    add_legend(figure, panels)
    return figure
