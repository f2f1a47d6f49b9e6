"""How every figure looks: one colour, marker, line and hatch for a subnetwork, one marker for a target.

Colours are Okabe and Ito's, distinguishable with any colour vision; markers, lines and hatches tell the same things
apart in grey. A figure is drawn without pyplot, so drawing changes no global state.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

BLACK, GREY, RED = "#000000", "#999999", "#D55E00"
SETTINGS: Any = {
    "svg.hashsalt": "opentrans",
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.5,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
}
# A decorator: a figure is drawn with these settings and leaves the global ones alone.
in_style = matplotlib.rc_context(SETTINGS)
MARKERS = {"han": "o", "deeplabv3": "s", "fcclip": "^"}
TARGET_TITLES = {"han": "Han et al.", "deeplabv3": "DeepLabV3", "fcclip": "FC-CLIP"}
BENCHMARK_TITLES = {
    "coco": "COCO",
    "cityscapes": "Cityscapes",
    "ade150": "ADE-150",
    "ade847": "ADE-847",
    "pas20": "PAS-20",
    "pc59": "PC-59",
    "pc459": "PC-459",
}
# Beyond this many, a panel's lines or panels cannot be told apart.
MOST_PANELS = 6


@dataclass(frozen=True)
class Style:
    """How one kind of thing is drawn: bars use `colour` and `hatch`, lines the rest."""

    colour: str
    hatch: str = ""
    line: str = "-"
    marker: str = "o"
    fill: Literal["full", "left", "none"] = "full"


STYLES = {
    "dense": Style("#0072B2", "", "-", "o", "full"),
    "distilled": Style("#56B4E9", "..", "--", "s", "left"),
    "ours": Style("#E69F00", "//", "-", "D", "full"),
    "random": Style("#999999", "xx", ":", "v", "none"),
    "random_distilled": Style("#009E73", "\\\\", "-.", "^", "full"),
}
SPARE = (
    Style("#CC79A7", "++", "--", "P", "none"),
    Style("#D55E00", "--", ":", "X", "full"),
    Style("#000000", "oo", "-.", "<", "none"),
    Style("#0072B2", "||", ":", ">", "none"),
    Style("#009E73", "**", "--", "h", "none"),
)


def get_styles(names: Collection[str]) -> dict[str, Style]:
    """A style for each of `names`: its own, or the next spare one; the known ones come first."""
    known = [name for name in STYLES if name in names]
    others = [name for name in dict.fromkeys(names) if name not in STYLES]
    return {name: STYLES[name] for name in known} | dict(zip(others, cycle(SPARE), strict=False))


def sort_known(names: Collection[str], order: Collection[str]) -> list[str]:
    """Those of `order` first, in that order, unknown ones after them by name."""
    return [name for name in order if name in names] + sorted(set(names) - set(order))


def sort_targets(names: Collection[str]) -> list[str]:
    """The targets in the paper's order."""
    return sort_known(names, TARGET_TITLES)


def get_title(name: str) -> str:
    """How a target or a benchmark is called in print."""
    return (TARGET_TITLES | BENCHMARK_TITLES).get(name, name)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


def add_panels(figure: FigureBase, rows: int, columns: int, **options: Any) -> list[list[Axes]]:
    """A grid of axes in the house's style, row by row; `options` go to ``Figure.subplots``."""
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat:
        axes.grid(axis="y")
    return [list(row) for row in grid]


def draw_line(axes: Axes, x: Any, y: Any, style: Style, label: str | None = None, every: int = 1) -> None:
    """A line in `style`, a marker at every `every`-th point."""
    axes.plot(
        x,
        y,
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        fillstyle=style.fill,
        markersize=4,
        markevery=every,
        label=label,
    )


def add_legend(figure: Figure, panels: Iterable[Axes], *, extra: Sequence[Artist] = ()) -> None:
    """One legend below the whole figure: each label of `panels` once, `extra` before them, in columns that fit."""
    found: dict[str, Artist] = {str(artist.get_label()): artist for artist in extra}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    longest = max(map(len, found), default=1)
    columns = int(figure.get_figwidth() / (0.4 + 0.065 * longest))
    location: Any = "outside lower center"
    figure.legend(
        list(found.values()), list(found), loc=location, ncols=max(1, min(len(found), columns)), frameon=False
    )


@in_style
def draw_notice(text: str, width: float = 5.5, height: float = 1.2) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = new_figure(width, height)
    figure.text(0.5, 0.5, f"Nothing to show: {text}", ha="center", va="center", wrap=True, fontsize=9)
    return figure


def label_layers(axes: Axes, layers: Sequence[str]) -> None:
    """Name every layer on the x axis, in network order."""
    names = [layer.removesuffix(".weight") for layer in layers]
    axes.set_xticks(range(len(layers)), names, rotation=90, fontsize=7)
    axes.set_xlim(-0.7, len(layers) - 0.3)


def fit_width(layers: int) -> float:
    """Width in inches at which `layers` names fit beside each other."""
    return max(5.5, 1.2 + 0.16 * layers)


def choose_flops_unit(values: Collection[float]) -> tuple[str, float]:
    """The largest of G, M and k in which the largest value is at least 1, and its factor."""
    largest = max(values, default=1e9)
    fitting = [(name, size) for name, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if size <= largest]
    return fitting[0] if fitting else ("", 1.0)
