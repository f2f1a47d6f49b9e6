"""Figures for Table 1: subnetworks compared for each target. Byte-deterministic SVG and PNG."""

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opentrans.errors import UserError
from opentrans.files import atomic_path

# Okabe and Ito's palette: distinguishable with any colour vision; the hatch tells the bars apart in grey.
STYLES = {
    "dense": ("#0072B2", ""),
    "distilled": ("#56B4E9", ".."),
    "ours": ("#E69F00", "//"),
    "random": ("#999999", "xx"),
}
TARGETS = {"han": "Han et al.", "deeplabv3": "DeepLabV3", "fcclip": "FC-CLIP"}
SETTINGS: Any = {"svg.hashsalt": "opentrans", "font.size": 9, "hatch.linewidth": 0.5, "axes.axisbelow": True}


def select_table1(results: pd.DataFrame) -> pd.DataFrame:
    """The runs that Table 1 shows: nothing frozen, a subnetwork with a style of its own."""
    selected = results[(results["freeze"] == "none") & results["subnetwork"].isin(list(STYLES))]
    if selected.empty:
        raise UserError("results", "hold no run of Table 1 (freeze none)", "evaluate the runs of Table 1 first")
    return selected


def plot_mean(results: pd.DataFrame) -> Figure:
    """Mean mIoU over the benchmarks for each target and subnetwork; a dot is a seed."""
    selected = select_table1(results)
    means = selected.groupby(["target", "subnetwork", "seed"], as_index=False)["miou"].mean()
    figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
    _draw_bars(axes, pd.DataFrame(means))
    axes.set_ylabel(f"mean mIoU over {selected['benchmark'].nunique()} benchmarks (%)")
    axes.legend(frameon=False, ncols=len(STYLES), loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def plot_benchmarks(results: pd.DataFrame) -> Figure:
    """One small panel of bars for each benchmark."""
    selected = select_table1(results)
    names = list(dict.fromkeys(selected["benchmark"]))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(2.6 * columns, 2.2 * rows), layout="constrained", squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw_bars(axes, selected[selected["benchmark"] == name])
        axes.set_title(name)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("mIoU (%)")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(STYLES), frameon=False)
    return figure


def _draw_bars(axes: Axes, values: pd.DataFrame) -> None:
    """Grouped bars (mean over seeds) with a dot for each seed; columns target, subnetwork, seed, miou."""
    found = set(values["target"])
    targets = [name for name in TARGETS if name in found] + sorted(found - TARGETS.keys())
    kinds = [name for name in STYLES if name in set(values["subnetwork"])]
    width = 0.8 / len(kinds)
    for place, kind in enumerate(kinds):
        colour, hatch = STYLES[kind]
        part = values[values["subnetwork"] == kind].groupby("target")["miou"]
        centres = [index + (place - (len(kinds) - 1) / 2) * width for index in range(len(targets))]
        heights = [float(part.get_group(name).mean()) if name in part.groups else 0.0 for name in targets]
        axes.bar(centres, heights, width, color=colour, hatch=hatch, edgecolor="white", label=kind)
        for centre, name in zip(centres, targets, strict=True):
            dots = list(part.get_group(name)) if name in part.groups else []
            axes.plot([centre] * len(dots), dots, ".", color="black", markersize=4)
    axes.set_xticks(range(len(targets)), [TARGETS[name] if name in TARGETS else str(name) for name in targets])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)


def write_figure(path: Path, figure: Figure) -> None:
    """Write `path` as .svg and .png; equal content is equal bytes (no date, fixed identifiers)."""
    for suffix, metadata in ((".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})):
        with atomic_path(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=metadata)
    plt.close(figure)


def make_figures(results: pd.DataFrame, folder: Path) -> None:
    """Write ``table1_mean`` and ``table1_benchmarks`` into `folder`."""
    matplotlib.use("Agg")
    with matplotlib.rc_context(SETTINGS):
        write_figure(folder / "table1_mean", plot_mean(results))
        write_figure(folder / "table1_benchmarks", plot_benchmarks(results))
