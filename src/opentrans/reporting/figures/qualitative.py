"""Qualitative results (Figures 5 and 8): images, ground truth and predictions with a legend of class names.

Colours alone cannot tell fifteen classes apart, least of all in grey, so each region also carries the number that
its class has in the legend.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from opentrans.data.prepared import PreparedDataset
from opentrans.data.regions import find_centre
from opentrans.reporting.figures.style import add_panels, draw_notice, get_title, in_style, new_figure, sort_targets
from opentrans.reporting.images import Predictions

# Okabe and Ito's colours without black and grey, then lighter and darker companions.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#332288", "#88CCEE", "#882255",
    "#117733", "#DDCC77", "#AA4499", "#44AA99", "#CC6677", "#661100", "#6699CC", "#999933",
)  # fmt: skip
NOT_ANNOTATED, SMALL = "#EEEEEE", "#777777"
# Classes that nowhere cover this share of an image get neither number nor colour.
LABELLED_SHARE = 0.015
PANEL = 1.45
LEGEND_COLUMNS = 3


@in_style
def plot_images(dataset: PreparedDataset, positions: Sequence[int], predictions: Sequence[Predictions]) -> Figure:
    """A row for each image: the image, its ground truth, and a column for each of `predictions`.

    Args:
        dataset: the prepared benchmark.
        positions: which of its images are shown.
        predictions: what each run sees in them, shown in the paper's order of targets.
    """
    if not (positions and predictions):
        return draw_notice("no image was predicted.")

    order = sort_targets({prediction.target for prediction in predictions})
    runs = sorted(predictions, key=lambda prediction: order.index(prediction.target))
    rows = [_get_maps(dataset, position, runs) for position in positions]

    # One legend for all images, so that a class has one colour throughout.
    classes = rank_classes(rows, dataset.vocabulary.ignore)
    legend_rows = -(-(len(classes) + 2) // LEGEND_COLUMNS)
    height = 0.35 + sum(PANEL * maps[0].shape[0] / maps[0].shape[1] for maps in rows) + 0.18 * legend_rows

    figure = new_figure(PANEL * (2 + len(runs)), height)
    grid = add_panels(figure, len(rows), 2 + len(runs))
    for position, maps, line in zip(positions, rows, grid, strict=True):
        line[0].imshow(dataset.image(position))
        for axes, classified in zip(line[1:], maps, strict=True):
            _draw_map(axes, classified, classes, dataset.vocabulary.ignore)
        for axes in line:
            axes.set_axis_off()

    titles = ["image", "ground truth", *(f"{get_title(run.target)}\n{_describe(run)}" for run in runs)]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)

    figure.legend(
        handles=_make_legend(classes, dataset.vocabulary.titles),
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
        frameon=False,
        handlelength=1.2,
    )
    return figure


def _make_legend(classes: Sequence[int], names: Sequence[str]) -> list[Patch]:
    """A patch for each class with its number, one for unmarked ground truth, one for all small regions."""
    patches = [
        Patch(color=get_colour(rank), label=f"{rank + 1} {names[number]}") for rank, number in enumerate(classes)
    ]
    patches.append(Patch(facecolor=SMALL, label="other classes, small regions"))
    return [*patches, Patch(facecolor=NOT_ANNOTATED, edgecolor="#999999", label="not annotated")]


def _describe(run: Predictions) -> str:
    return run.subnetwork if run.freeze == "none" else f"{run.subnetwork}, {run.freeze}"


def _get_maps(dataset: PreparedDataset, position: int, runs: Sequence[Predictions]) -> list[np.ndarray]:
    truth = dataset.label(position)
    return [truth, *(run.get(dataset.records[position].image_id, truth.shape) for run in runs)]


def rank_classes(rows: Sequence[Sequence[np.ndarray]], ignore: int) -> list[int]:
    """The classes that cover `LABELLED_SHARE` of any of the maps, most pixels first (equal ones by index)."""
    pixels: dict[int, int] = {}
    largest: dict[int, float] = {}
    for classified in (classified for row in rows for classified in row):
        for number, count in zip(*np.unique(classified[classified != ignore], return_counts=True), strict=True):
            pixels[int(number)] = pixels.get(int(number), 0) + int(count)
            largest[int(number)] = max(largest.get(int(number), 0), count / classified.size)
    shown = [number for number, share in largest.items() if share >= LABELLED_SHARE]
    return sorted(shown, key=lambda number: (-pixels[number], number))


def get_colour(rank: int) -> str:
    """The colour of the class with this place in the legend; colours repeat after 18, the numbers do not."""
    return PALETTE[rank % len(PALETTE)]


def paint(classified: np.ndarray, classes: Sequence[int], ignore: int) -> np.ndarray:
    """A (height, width, 3) image with values 0..1: the colours of `classes`, of small regions, of no annotation."""
    coloured = np.empty((*classified.shape, 3))
    coloured[:] = to_rgb(SMALL)
    coloured[classified == ignore] = to_rgb(NOT_ANNOTATED)
    for rank, number in enumerate(classes):
        coloured[classified == number] = to_rgb(get_colour(rank))
    return coloured


def _draw_map(axes: Axes, classified: np.ndarray, classes: Sequence[int], ignore: int) -> None:
    """Paint a label map and write each class's number where it has most room."""
    axes.imshow(paint(classified, classes, ignore), interpolation="nearest")
    for rank, number in enumerate(classes):
        region = classified == number
        if region.mean() >= LABELLED_SHARE:
            row, column = find_centre(region)
            outline = [withStroke(linewidth=1.6, foreground="black")]
            axes.text(
                column, row, str(rank + 1), color="white", fontsize=7, ha="center", va="center", path_effects=outline
            )
