"""The report of a run: one HTML page that needs nothing but itself."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from opentrans.config import Config
from opentrans.errors import UserError
from opentrans.reporting.grid import Grid, build_grid
from opentrans.reporting.jobs import RuleCost, format_time
from opentrans.reporting.tidy import read_frame
from opentrans.runs.find import name_config
from opentrans.runs.layout import ResultsLayout
from opentrans.runs.machine import describe_commit, describe_hardware, describe_versions

TEMPLATES = Path(__file__).parent / "templates"
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class TableEntry:
    """A table of the page."""

    name: str
    title: str
    caption: str
    grid: Grid


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the page, as a data URI."""

    name: str
    title: str
    caption: str
    source: str


def read_table(path: Path, captions: Mapping[str, str]) -> TableEntry:
    """A table's CSV; its caption is the first paragraph of the Markdown file beside it, or `captions`'s.

    Raises:
        UserError: the file is missing or no CSV.
    """
    table = read_frame(path, (), "make the tables again", dtype=str, keep_default_na=False)
    caption = read_table_caption(path) or captions.get(path.stem, "")
    return TableEntry(path.stem, _get_title(path.stem), caption, build_grid(table))


def read_table_caption(path: Path) -> str:
    """The first paragraph of the Markdown file beside a table's CSV; empty where there is none."""
    markdown = path.with_suffix(".md")
    text = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
    first = text.split("\n\n")[0].strip()
    return "" if first.startswith("|") else first


def read_figure(path: Path, captions: Mapping[str, str]) -> FigureEntry:
    """A figure's file with its caption."""
    if path.suffix not in TYPES:
        raise UserError(path, "is neither SVG nor PNG", "give figures as .svg or .png")
    try:
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise UserError(path, "no such file", "draw the figures again") from None
    source = f"data:{TYPES[path.suffix]};base64,{content}"
    return FigureEntry(path.stem, _get_title(path.stem), captions.get(path.stem, ""), source)


NUMBERED = re.compile(r"^(?P<kind>table|figure)(?P<number>\d+)(?:_(?P<rest>\w+))?$")


def _get_title(name: str) -> str:
    """``table10`` -> Table 10, ``table1_mean`` -> Table 1: mean, ``miou_density`` -> mIoU density."""
    match = NUMBERED.match(name)
    if match:
        rest = f": {match['rest'].replace('_', ' ')}" if match["rest"] else ""
        return f"{match['kind'].capitalize()} {match['number']}{rest}"
    words = name.replace("_", " ")
    return (words[0].upper() + words[1:]).replace("Miou", "mIoU")


def sort_by_number(paths: Sequence[Path]) -> list[Path]:
    """Numbered ones first, by number; then the others. Equal ones stay in the order given."""
    matches = {path: NUMBERED.match(path.stem) for path in paths}
    numbers = {path: int(match["number"]) for path, match in matches.items() if match and not match["rest"]}
    return sorted(paths, key=lambda path: numbers.get(path, len(paths) + 1000))


def summarize_results(results: pd.DataFrame) -> dict[str, str]:
    """How much was measured."""
    runs = results[["target", "subnetwork", "freeze", "seed"]].drop_duplicates()
    return {
        "evaluated runs": str(len(runs)),
        "seeds": ", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        "targets": ", ".join(sorted(runs["target"].unique())),
        "benchmarks": ", ".join(sorted(results["benchmark"].unique())),
    }


def render_page(
    config: Config,
    results: pd.DataFrame,
    tables: Sequence[TableEntry],
    figures: Sequence[FigureEntry],
    claims: TableEntry | None,
    costs: Sequence[RuleCost],
) -> str:
    """The whole page. Equal arguments on the same machine and commit give equal text: it holds no date."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    commit = describe_commit()
    environment.filters["time"] = format_time
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
    return environment.get_template("report.html").render(
        profile=config.profile,
        config_file=ResultsLayout.of_profile(config.profile).folder / name_config(config)[0],
        comparable=config.profile == "paper",
        summary=summarize_results(results),
        tables=tables,
        figures=figures,
        claims=claims,
        costs=costs,
        total=RuleCost(
            "all",
            sum(cost.jobs for cost in costs),
            sum(cost.wall for cost in costs),
            sum(cost.cpu for cost in costs),
            max((cost.memory for cost in costs), default=0.0),
        ),
        settings=settings,
        hardware=describe_hardware(),
        versions=describe_versions(),
        commit=commit,
        known=not commit.startswith("unknown"),
    )
