"""What the README shows of a run, and whether it still shows that.

The record (``docs/results``) holds the CSV of every shown table and ``record.json`` with captions, the cost of the run
and the SHA-256 of every shown figure. The pages are rendered from the record, never from anything typed, so the
comparison of pages, record and images needs no results; with results at hand the record is compared with them too.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from opentrans.errors import UserError
from opentrans.reporting.jobs import format_time, read_costs_of_jobs
from opentrans.reporting.page import read_table_caption
from opentrans.runs.layout import ResultsLayout
from opentrans.runs.machine import describe_hardware
from opentrans.system.files import read_json, sha256, write_bytes, write_json, write_text

BLOCK = re.compile(r"<!-- begin (?P<name>\w+) -->\n(?P<content>.*?)<!-- end (?P=name) -->", re.DOTALL)
IMAGE = re.compile(r"\]\([^)\s]*images/(?P<name>\w+)\.svg\)")
RECORD = "record.json"
RENEW = "`make readme` renews it from a run; `opentrans update-readme` alone from docs/results"
COST = "run"
# Other pages have blocks with sources of their own.
PAGES = ("README.md", "docs/findings.md")


@dataclass(frozen=True)
class Record:
    """What is shown: captions by table, SHA-256 by figure, and what the run behind them cost."""

    captions: dict[str, str]
    figures: dict[str, str]
    jobs: int
    cpu_seconds: float
    hardware: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read ``record.json``; a missing field is a `UserError`."""
        content = read_json(folder / RECORD, RENEW)
        try:
            return cls(**content)
        except TypeError as error:
            raise UserError(folder / RECORD, f"does not hold the fields of a record ({error})", RENEW) from None


def get_pages(root: Path) -> list[Path]:
    """The pages that show results: the README, and the findings where they are written."""
    return [root / name for name in PAGES if (root / name).exists()]


def find_shown(pages: Iterable[Path]) -> tuple[list[str], list[str]]:
    """The names of the blocks and of the images in `pages`."""
    texts = [page.read_text(encoding="utf-8") for page in pages]
    blocks = [match["name"] for text in texts for match in BLOCK.finditer(text)]
    images = [match["name"] for text in texts for match in IMAGE.finditer(text)]
    return list(dict.fromkeys(blocks)), list(dict.fromkeys(images))


def find_table(results: Path, name: str) -> Path:
    """The CSV behind a block: ``tables/{name}.csv``, ``{name}.csv``, or for PROFILE_NAME another profile's table."""
    profile, _, other = name.partition("_")
    layout = ResultsLayout(results)
    candidates = [layout.table(name, "csv"), layout.collected(name)]
    if other:
        candidates.append(ResultsLayout(results.parent / profile).table(other, "csv"))
    for path in candidates:
        if path.exists():
            return path
    raise UserError(
        candidates[-1 if other else 0],
        f"no such file, but a page shows {name}",
        "run the workflow, or remove the block",
    )


def take_record(results: Path, pages: Sequence[Path], folder: Path, images: Path) -> None:
    """Copy what `pages` show of `results` into the record `folder` and the images into `images`."""
    blocks, shown = find_shown(pages)
    tables = {name: find_table(results, name) for name in blocks if name != COST}
    figures = {name: ResultsLayout(results).figure(name, "svg") for name in shown}
    figures = {name: path for name, path in figures.items() if path.exists()}
    costs = read_costs_of_jobs(ResultsLayout(results).jobs)
    record = Record(
        {name: read_table_caption(path) for name, path in tables.items()},
        {name: sha256(path) for name, path in figures.items()},
        sum(cost.jobs for cost in costs),
        round(sum(cost.cpu for cost in costs), 1),
        describe_hardware(),
    )
    for name, path in tables.items():
        write_bytes(folder / f"{name}.csv", path.read_bytes())
    for name, path in figures.items():
        write_bytes(images / f"{name}.svg", path.read_bytes())
    for path in folder.glob("*.csv"):
        if path.stem not in tables:
            path.unlink()
    write_json(folder / RECORD, asdict(record))


def render_block(name: str, record: Record, folder: Path) -> str:
    """The Markdown of a block: a table under its caption, or for ``run`` a sentence on cost."""
    if name == COST:
        on = ", ".join(f"{key} {value}" for key, value in record.hardware.items() if key in ("cores", "processor"))
        return (
            f"The run behind these figures: {record.jobs} jobs, {format_time(record.cpu_seconds)} of CPU time ({on})."
        )
    path = folder / f"{name}.csv"
    if not path.exists() or name not in record.captions:
        raise UserError(path, "the record has no such table", RENEW)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return f"{record.captions[name]}\n\n{table.to_markdown(index=False, disable_numparse=True)}".strip()


def render_page(page: Path, record: Record, folder: Path) -> str:
    """The text that `page` should have: every block rendered from the record, the rest as it is."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n{render_block(name, record, folder)}\n<!-- end {name} -->"

    text = page.read_text(encoding="utf-8")
    begun, ended = (set(re.findall(rf"<!-- {word} (\w+) -->", text)) for word in ("begin", "end"))
    if begun != ended:
        name = min(begun ^ ended)
        raise UserError(
            page, f"the block {name} has only one of its two marks", "write <!-- begin X --> and <!-- end X -->"
        )
    return BLOCK.sub(replace, text)


def update_pages(pages: Sequence[Path], folder: Path) -> None:
    """Render all pages from the record; a page that is right already is not touched."""
    record = Record.read(folder)
    for page in pages:
        text = render_page(page, record, folder)
        if text != page.read_text(encoding="utf-8"):
            write_text(page, text)


def find_drift(pages: Sequence[Path], folder: Path, images: Path, results: Path | None = None) -> list[str]:
    """What differs between pages, record, images and, where given, results; empty if nothing does."""
    record = Record.read(folder)
    drift = [
        f"{page}: does not show what {folder} holds"
        for page in pages
        if render_page(page, record, folder) != page.read_text(encoding="utf-8")
    ]
    for name, digest in record.figures.items():
        path = images / f"{name}.svg"
        if not path.exists() or sha256(path) != digest:
            drift.append(f"{path}: is not the figure that {folder / RECORD} names")
    missing = [name for name in find_shown(pages)[1] if not (images / f"{name}.svg").exists()]
    drift += [f"{images / name}.svg: a page shows it, but there is no such file" for name in missing]
    return drift + ([] if results is None else _compare(record, folder, results))


def _compare(record: Record, folder: Path, results: Path) -> list[str]:
    """Where the record differs from results. Cost and hardware are not compared: they are of the recorded run."""
    drift = []
    for name, caption in record.captions.items():
        path = find_table(results, name)
        if path.read_bytes() != (folder / f"{name}.csv").read_bytes() or read_table_caption(path) != caption:
            drift.append(f"{folder / name}.csv: differs from {path}")
    for name, digest in record.figures.items():
        path = ResultsLayout(results).figure(name, "svg")
        if not path.exists() or sha256(path) != digest:
            drift.append(f"{name}.svg: differs from {path}")
    return drift
