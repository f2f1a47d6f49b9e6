"""Beyond the paper: which layers a subnetwork keeps, and how the search gets there."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opentrans.reporting.figures.style import (
    add_legend,
    add_panels,
    draw_line,
    draw_notice,
    fit_width,
    get_styles,
    in_style,
    label_layers,
    new_figure,
)


@in_style
def plot_layers(layers: pd.DataFrame) -> Figure:
    """Density of every layer, a line for each sparse subnetwork (mean over seeds; bar: smallest to largest).

    Args:
        layers: `read_layers`, layers in network order.
    """
    # A dense subnetwork would only be a line at 100%.
    shown = layers.groupby("subnetwork", sort=False).filter(lambda rows: rows["density"].min() < 1)
    if shown.empty:
        return draw_notice("every subnetwork is dense.")

    names = list(dict.fromkeys(shown["layer"]))
    figure = new_figure(fit_width(len(names)), 4.2)
    axes = add_panels(figure, 1, 1)[0][0]

    for name, style in get_styles(list(dict.fromkeys(shown["subnetwork"]))).items():
        part = shown[shown["subnetwork"] == name].groupby("layer", sort=False)["density"]
        mean, low, high = (100 * values.reindex(names) for values in (part.mean(), part.min(), part.max()))
        axes.errorbar(
            range(len(names)),
            mean,
            yerr=[mean - low, high - mean],
            color=style.colour,
            linestyle=style.line,
            marker=style.marker,
            fillstyle=style.fill,
            markersize=4,
            label=name,
        )

    label_layers(axes, names)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("density (% of weights)")
    axes.set_xlabel("layer of the backbone, input to output")
    add_legend(figure, [axes])
    return figure


@in_style
def plot_rounds(rounds: pd.DataFrame) -> Figure:
    """The course of the search: density and distillation loss against iterations, and each layer by round.

    Args:
        rounds: `read_rounds`, in it a column for each layer. Subnetworks that were not trained (no loss) are left
            out; the layers are those of `ours`, or of the first trained subnetwork, with the first seed.
    """
    trained = rounds[rounds["loss"].notna()]
    if trained.empty:
        return draw_notice("no subnetwork was trained.")

    names = list(dict.fromkeys(trained["subnetwork"]))
    chosen = "ours" if "ours" in names else names[0]

    figure = new_figure(8.5, 4.4)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.3], squeeze=False)[0]
    upper, lower = (row[0] for row in add_panels(left, 2, 1, sharex=True))

    for name, style in get_styles(names).items():
        part = trained[trained["subnetwork"] == name].groupby("iterations")[["density", "loss"]].mean()
        draw_line(upper, part.index, 100 * part["density"], style, name)
        draw_line(lower, part.index, part["loss"], style)

    upper.set_ylabel("density (%)")
    upper.set_ylim(0, 105)
    upper.legend(frameon=False)

    lower.set_ylabel("distillation loss, mean of a round")
    lower.set_xlabel("iterations of the search")
    _draw_heatmap(add_panels(right, 1, 1)[0][0], trained[trained["subnetwork"] == chosen], chosen)
    return figure


def _draw_heatmap(axes: Axes, rounds: pd.DataFrame, name: str) -> None:
    """Density of each layer (rows) after each round (columns), first seed."""
    first = rounds[rounds["seed"] == rounds["seed"].min()].dropna(axis=1, how="all")
    known = {"target", "subnetwork", "freeze", "seed", "round", "iterations", "density", "kept", "loss"}
    layers = [column for column in first if column not in known]

    image = axes.imshow(
        100 * first[layers].to_numpy(float).T, aspect="auto", cmap="cividis", vmin=0, vmax=100, interpolation="nearest"
    )
    axes.grid(False)

    axes.set_yticks(
        range(len(layers)),
        [str(layer).removesuffix(".weight") for layer in layers],
        fontsize=7 if len(layers) < 30 else 5,
    )

    # At most twelve numbers: more would run into each other.
    step = -(-len(first) // 12)
    axes.set_xticks(range(0, len(first), step), [str(number) for number in first["round"]][::step])
    axes.set_xlabel("round")

    axes.set_title(f"density of each layer, {name}")
    axes.figure.colorbar(image, ax=axes, label="density (%)", shrink=0.8)
