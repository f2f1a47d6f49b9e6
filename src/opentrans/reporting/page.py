"""The report of a run: one HTML page that needs nothing but itself."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from markupsafe import Markup

from opentrans.config import Config
from opentrans.errors import UserError
from opentrans.reporting.jobs import RuleCost, format_time, sum_costs
from opentrans.reporting.render import NUMBERED, get_section_title, make_environment
from opentrans.reporting.tidy import RUN_KEYS
from opentrans.runs.find import name_config
from opentrans.runs.layout import ResultsLayout
from opentrans.runs.machine import describe_commit, describe_hardware, describe_versions
from opentrans.runs.selection import CLAIM_FIGURES

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class TableSection:
    """A table of the page: its name, its title, and the HTML that `to_html` made of it."""

    name: str
    title: str
    html: Markup


@dataclass(frozen=True)
class FigureSection:
    """A figure of the page, as a data URI."""

    name: str
    title: str
    caption: str
    source: str


def read_section(path: Path) -> TableSection:
    """Read the HTML of a table.

    Raises:
        UserError: the file is missing or no text.
    """
    remedy = "make the tables again"
    try:
        html = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(path, "no such file", remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 text ({error})", remedy) from None
    return TableSection(path.stem, get_section_title(path.stem), Markup(html))


def read_figure(path: Path, captions: Mapping[str, str]) -> FigureSection:
    """A figure's file with its caption."""
    if path.suffix not in _TYPES:
        raise UserError(path, "is neither SVG nor PNG", "give figures as .svg or .png")
    try:
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise UserError(path, "no such file", "draw the figures again") from None
    source = f"data:{_TYPES[path.suffix]};base64,{content}"
    return FigureSection(path.stem, get_section_title(path.stem), captions.get(path.stem, ""), source)


def sort_by_number(paths: Sequence[Path]) -> list[Path]:
    """Numbered ones first, by number; then the others. Equal ones stay in the order given."""
    matches = {path: NUMBERED.match(path.stem) for path in paths}
    numbers = {path: int(match["number"]) for path, match in matches.items() if match and not match["rest"]}
    return sorted(paths, key=lambda path: numbers.get(path, len(paths) + 1000))


def summarize_results(results: pd.DataFrame) -> dict[str, str]:
    """How much was measured."""
    runs = results[RUN_KEYS].drop_duplicates()
    return {
        "evaluated runs": str(len(runs)),
        "seeds": ", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        "targets": ", ".join(sorted(runs["target"].unique())),
        "benchmarks": ", ".join(sorted(results["benchmark"].unique())),
    }


def render_report(
    config: Config,
    results: pd.DataFrame,
    tables: Sequence[TableSection],
    figures: Sequence[FigureSection],
    claims: TableSection | None,
    costs: Sequence[RuleCost],
) -> str:
    """The whole page. Equal arguments on the same machine and commit give equal text: it holds no date."""
    environment = make_environment()
    environment.filters["time"] = format_time
    commit = describe_commit()
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)

    # The claims come first, and what is drawn of them comes with them.
    beside_claims = CLAIM_FIGURES if claims else {}

    return environment.get_template("report.html").render(
        profile=config.profile,
        config_file=ResultsLayout.of_profile(config.profile).folder / name_config(config)[0],
        comparable=config.profile == "paper",
        summary=summarize_results(results),
        tables=tables,
        leading=[figure for figure in figures if figure.name in beside_claims],
        figures=[figure for figure in figures if figure.name not in beside_claims],
        claims=claims,
        costs=costs,
        total=sum_costs(costs),
        settings=settings,
        hardware=describe_hardware(),
        versions=describe_versions(),
        commit=commit,
        known=not commit.startswith("unknown"),
    )
