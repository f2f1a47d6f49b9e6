"""All claims at a glance: effect, interval, the paper's effect and verdict, on one scale for each unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opentrans.reporting.claims import UNITS
from opentrans.reporting.figures.style import (
    BLACK,
    GREY,
    RED,
    STYLES,
    add_legend,
    draw_notice,
    in_style,
    new_figure,
    sort_known,
)
from opentrans.reporting.verdicts import FAILS, HOLDS, OPEN

# What it reads of the claims table that `judge-claims` writes.
FOREST_FIELDS = ("claim", "family", "relation", "margin", "unit", "paper effect", "effect", "95% from", "to", "verdict")
FAMILY_TITLES = {
    "P": "Family P: the paper's main results",
    "S": "Family S: the supplement's ablations",
    "A": "Family A: alpha in fine-tuning",
    "": "Counted, no test",
}
# By verdict: colour, marker, and whether it is filled.
_MARKS = {HOLDS: (STYLES["dense"].colour, "o", True), FAILS: (RED, "s", True), OPEN: (GREY, "o", False)}
_ROW = 0.215  # inches
# An interval may widen a panel by this share of the span of its effects; what is longer ends in an arrow.
_ROOM = 0.5


@dataclass(frozen=True)
class _Line:
    """One line of a panel: a family's title, or a claim."""

    title: str
    claim: pd.Series | None


@in_style
def plot_forest(claims: pd.DataFrame) -> Figure:
    """A panel for each unit, the points of mIoU first, its claims by family.

    Args:
        claims: the columns `FOREST_FIELDS`, numbers nan where unknown, `family` empty where nothing is tested.
    """
    if claims.empty:
        return draw_notice("the claims table holds no claim.")

    units = sort_known(set(claims["unit"]), list(dict.fromkeys(UNITS.values())))
    panels = [_list_lines(claims[claims["unit"] == unit]) for unit in units]

    heights = [len(lines) + 1.0 for lines in panels]
    figure = new_figure(8.6, _ROW * sum(heights) + 0.45 * len(units) + 0.5)
    grid = figure.subplots(len(units), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    drawn: list[Axes] = [row[0] for row in grid]
    for axes, unit, lines in zip(drawn, units, panels, strict=True):
        _draw_panel(axes, unit, lines)

    add_legend(figure, [], extra=_make_legend())
    return figure


def _list_lines(claims: pd.DataFrame) -> list[_Line]:
    """The claims of a panel under the titles of their families."""
    lines = []
    for family in sort_known(set(claims["family"]), FAMILY_TITLES):
        lines.append(_Line(FAMILY_TITLES.get(family, f"Family {family}"), None))
        members = claims[claims["family"] == family]
        lines += [_Line(str(row["claim"]), row) for _, row in members.iterrows()]
    return lines


def _draw_panel(axes: Axes, unit: str, lines: Sequence[_Line]) -> None:
    low, high = _find_limits([line.claim for line in lines if line.claim is not None])
    axes.set_xlim(low, high)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=7)

    axes.set_yticks(range(len(lines)), [line.title for line in lines], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"effect, {unit}", fontsize=8)

    for position, line in enumerate(lines):
        if line.claim is None:
            axes.get_yticklabels()[position].set_fontweight("bold")
        else:
            _draw_claim(axes, position, line.claim)


def _find_limits(claims: Sequence[pd.Series]) -> tuple[float, float]:
    """The range of a panel: all effects, the paper's, the margins and 0, and intervals as far as there is room."""
    shown = [0.0]
    for claim in claims:
        shown += [claim["effect"], claim["paper effect"], *_list_margins(claim)]
    points = pd.Series(shown, dtype=float).dropna()
    ends = pd.Series([claim[name] for claim in claims for name in ("95% from", "to")], dtype=float).dropna()

    low, high = float(points.min()), float(points.max())
    span = high - low or 1.0
    farthest = low - _ROOM * span, high + _ROOM * span
    if not ends.empty:
        low = min(low, max(float(ends.min()), farthest[0]))
        high = max(high, min(float(ends.max()), farthest[1]))
    border = 0.04 * (high - low or 1.0)
    return low - border, high + border


def _list_margins(claim: pd.Series) -> list[float]:
    """Where the claim's margins lie: one below 0 for ``non-inferior``, two for ``equivalent``."""
    margin = float(claim["margin"])
    if not margin > 0:
        return []
    return [-margin, margin] if claim["relation"] == "equivalent" else [-margin]


def _draw_claim(axes: Axes, position: int, claim: pd.Series) -> None:
    colour, marker, filled = _MARKS[claim["verdict"]]

    for margin in _list_margins(claim):
        axes.plot(margin, position, "|", color=BLACK, markersize=9, markeredgewidth=0.8)
    if pd.notna(claim["95% from"]):
        _draw_interval(axes, position, claim, colour)

    # The paper's mark lies below ours: where both coincide, its corners are seen.
    axes.plot(claim["paper effect"], position, "D", color=BLACK, markersize=7, fillstyle="none", markeredgewidth=0.9)
    face = colour if filled else "white"
    axes.plot(claim["effect"], position, marker, color=colour, markerfacecolor=face, markersize=5)

    axes.annotate(
        _describe(claim),
        (1.02, position),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=BLACK if filled else "#666666",
    )


def _describe(claim: pd.Series) -> str:
    """The effect and the verdict in words."""
    effect = float(claim["effect"])
    if pd.isna(effect):
        return "not judged"
    digits = 3 if abs(effect) >= 10 else 2
    return f"{effect:+.{digits}g}  {claim['verdict']}".replace("-", "\N{MINUS SIGN}")


def _draw_interval(axes: Axes, position: int, claim: pd.Series, colour: str) -> None:
    """A bar; an end beyond the panel is an arrow."""
    low, high = axes.get_xlim()
    start, stop = max(float(claim["95% from"]), low), min(float(claim["to"]), high)
    axes.plot([start, stop], [position, position], color=colour, linewidth=1.8, solid_capstyle="butt")
    if claim["95% from"] < low:
        axes.plot(low, position, "<", color=colour, markersize=5, clip_on=False)
    if claim["to"] > high:
        axes.plot(high, position, ">", color=colour, markersize=5, clip_on=False)


def _make_legend() -> list[Line2D]:
    marks = [
        Line2D([], [], color=colour, marker=marker, markerfacecolor=colour if filled else "white", label=verdict)
        for verdict, (colour, marker, filled) in _MARKS.items()
    ]
    paper = Line2D([], [], color=BLACK, marker="D", fillstyle="none", linestyle="none", label="the paper's effect")
    margin = Line2D([], [], color=BLACK, marker="|", markersize=9, linestyle="none", label="margin")
    return [*marks, paper, margin]
