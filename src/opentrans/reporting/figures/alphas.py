"""Heavy-tail exponents alpha of the backbone's layers: Figures 6, 7 and 9 of the supplement.

All three read the same tidy table (`read_alpha_traces`): target, subnetwork, freeze, seed, iteration, layer, alpha.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opentrans.reporting.figures.style import (
    BLACK,
    GREY,
    MOST_PANELS,
    RED,
    STYLES,
    add_legend,
    add_panels,
    draw_line,
    draw_notice,
    fit_width,
    get_styles,
    get_title,
    in_style,
    label_layers,
    new_figure,
    sort_targets,
)
from opentrans.reporting.results import compute_medians

NOTHING = "no run with a trace of alpha was made."
AXIS = "alpha (no unit)"
BLUE, ORANGE = STYLES["dense"].colour, STYLES["ours"].colour


@in_style
def plot_before(alphas: pd.DataFrame) -> Figure:
    """Figure 6: alpha of every layer before fine-tuning, a panel for each subnetwork, the median as a red line.

    All runs that start from a subnetwork and a seed start with the same backbone; the first one is taken. A dot is a
    seed, the line their mean; layers without a fit are left out.
    """
    if alphas.empty:
        return draw_notice(NOTHING)

    start = alphas[alphas["iteration"] == alphas["iteration"].min()]
    start = start.drop_duplicates(["subnetwork", "seed", "layer"])
    names = list(get_styles(list(dict.fromkeys(start["subnetwork"]))))[:MOST_PANELS]
    layers = list(dict.fromkeys(start["layer"]))

    figure = new_figure(fit_width(len(layers)), 2.2 + 1.5 * len(names))
    panels = [row[0] for row in add_panels(figure, len(names), 1, sharex=True)]

    for axes, name in zip(panels, names, strict=True):
        part = start[start["subnetwork"] == name].dropna(subset="alpha")
        positions = part["layer"].map(layers.index)
        axes.plot(positions, part["alpha"], ".", color=GREY, markersize=5)
        means = part.groupby("layer")["alpha"].mean().reindex(layers)
        axes.plot(range(len(layers)), means, "-o", color=BLUE, markersize=4, label="alpha, mean over seeds")

        median = float(means.median())
        axes.axhline(median, color=RED, linewidth=1.6, label="median over layers")
        axes.set_title(f"{name} backbone: median {median:.2f}")
        axes.set_ylabel(AXIS)
    label_layers(panels[-1], layers)
    panels[-1].set_xlabel("layer of the backbone, input to output")
    add_legend(figure, panels)
    return figure


@in_style
def plot_medians(alphas: pd.DataFrame) -> Figure:
    """Figure 7: the median of alpha over the layers during fine-tuning, a panel for each target.

    A line is a subnetwork with a freeze recipe, averaged over seeds.
    """
    if alphas.empty or alphas["iteration"].nunique() < 2:
        return draw_notice(NOTHING)

    medians = compute_medians(alphas)
    label = medians["subnetwork"] + ", freeze " + medians["freeze"]
    medians = medians.assign(line=label.str.replace(", freeze none", ""))
    styles = get_styles(list(dict.fromkeys(medians["line"])))

    targets = sort_targets(set(medians["target"]))
    figure = new_figure(max(4.5, 1 + 2.6 * len(targets)), 3.2)
    panels = add_panels(figure, 1, len(targets), sharey=True)[0]

    for axes, target in zip(panels, targets, strict=True):
        part = medians[medians["target"] == target]
        for name in dict.fromkeys(part["line"]):
            means = part[part["line"] == name].groupby("iteration")["alpha"].mean()
            draw_line(axes, means.index, means, styles[name], name)
        axes.set_title(get_title(target))
        axes.set_xlabel("iteration of fine-tuning")
        axes.set_ylim(0, 1.25 * float(medians["alpha"].max()))

    panels[0].set_ylabel("median of alpha over layers")
    add_legend(figure, panels)
    return figure


@in_style
def plot_changes(alphas: pd.DataFrame) -> Figure:
    """Figure 9: alpha of every layer before and after fine-tuning, a panel for each run (mean over its seeds)."""
    if alphas.empty or alphas["iteration"].nunique() < 2:
        return draw_notice(NOTHING)

    keys = ["target", "subnetwork", "freeze"]
    runs = list(dict.fromkeys(alphas[keys].itertuples(index=False, name=None)))
    layers = list(dict.fromkeys(alphas["layer"]))
    shown = runs[:MOST_PANELS]

    figure = new_figure(fit_width(len(layers)), 2.2 + 1.5 * len(shown))
    panels = [row[0] for row in add_panels(figure, len(shown), 1, sharex=True)]

    for axes, run in zip(panels, shown, strict=True):
        _draw_change(axes, alphas[(alphas[keys] == list(run)).all(axis=1)], layers)
        target, subnetwork, freeze = run
        axes.set_title(f"{get_title(target)}, {subnetwork} backbone, freeze {freeze}")
        axes.set_ylabel(AXIS)
    label_layers(panels[-1], layers)
    panels[-1].set_xlabel("layer of the backbone, input to output")

    before = Line2D([], [], color=BLUE, marker="o", fillstyle="none", linestyle="", label="before fine-tuning")
    after = Line2D([], [], color=ORANGE, marker="D", markeredgecolor=BLACK, linestyle="", label="after")
    add_legend(figure, [], extra=[before, after])

    if len(runs) > len(shown):
        figure.supxlabel(f"{len(runs) - len(shown)} more traced runs are not drawn", fontsize=8)
    return figure


def _draw_change(axes: Axes, trace: pd.DataFrame, layers: list[str]) -> None:
    """An open circle (first iteration) and a filled diamond (last) for each layer, joined."""
    means = trace.groupby(["iteration", "layer"])["alpha"].mean().unstack("layer").reindex(columns=layers)
    before, after = means.iloc[0], means.iloc[-1]
    axes.vlines(range(len(layers)), before, after, color=GREY, linewidth=1)
    axes.plot(range(len(layers)), before, "o", color=BLUE, fillstyle="none", markersize=5)
    axes.plot(range(len(layers)), after, "D", color=ORANGE, markeredgecolor=BLACK, markeredgewidth=0.5, markersize=4)
