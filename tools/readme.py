"""``python -m tools.readme [--check]``: what the README and the findings show of a run, and whether it is still that.

The record (``docs/results``) holds the CSV of every shown table and ``record.json`` with captions, the cost of the run
and the SHA-256 of every shown figure. The pages are rendered from the record, never from anything typed, so the
comparison of pages, record and images needs no results; with results at hand the record is compared with them too.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from opentrans.errors import UserError
from opentrans.reporting.jobs import format_time, read_costs_of_jobs, sum_costs
from opentrans.runs.layout import ResultsLayout
from opentrans.runs.machine import describe_hardware
from opentrans.system.files import read_json, sha256, write_bytes, write_json, write_text
from tools.call import call

_BLOCK = re.compile(r"<!-- begin (?P<name>\w+) -->\n(?P<content>.*?)<!-- end (?P=name) -->", re.DOTALL)
_IMAGE = re.compile(r"\]\([^)\s]*images/(?P<name>\w+)\.svg\)")
# Other pages have blocks with sources of their own.
PAGES = [Path("README.md"), Path("docs/findings.md")]
_RECORD = "record.json"
_RENEW = "`make readme` renews it from a run, `python -m tools.readme` alone from docs/results"
_COST = "run"


@dataclass(frozen=True)
class ShownResults:
    """What the pages show: captions by table, SHA-256 by figure, and what the run behind them cost."""

    captions: dict[str, str]
    figures: dict[str, str]
    jobs: int
    cpu_seconds: float
    hardware: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "ShownResults":
        """Read ``record.json``; a missing field is a `UserError`."""
        content = read_json(folder / _RECORD, _RENEW)
        try:
            return cls(**content)
        except TypeError as error:
            raise UserError(folder / _RECORD, f"does not hold the fields of a record ({error})", _RENEW) from None


def find_shown(pages: Iterable[Path]) -> tuple[list[str], list[str]]:
    """The names of the blocks and of the images in `pages`."""
    texts = [page.read_text(encoding="utf-8") for page in pages]
    blocks = [match["name"] for text in texts for match in _BLOCK.finditer(text)]
    images = [match["name"] for text in texts for match in _IMAGE.finditer(text)]
    return list(dict.fromkeys(blocks)), list(dict.fromkeys(images))


def _list_layouts(results: Path, name: str) -> list[tuple[ResultsLayout, str]]:
    """Where `name` may lie: in these results, or for PROFILE_NAME in another profile's beside them."""
    profile, _, other = name.partition("_")
    return [(ResultsLayout(results), name), (ResultsLayout(results.parent / profile), other or name)]


def find_table(results: Path, name: str) -> Path:
    """The CSV behind a block: ``tables/{name}.csv`` or ``{name}.csv``, for PROFILE_NAME of another profile."""
    layouts = _list_layouts(results, name)
    candidates = [path for layout, own in layouts for path in (layout.table(own, "csv"), layout.collected(own))]
    for path in candidates:
        if path.exists():
            return path
    remedy = "run the workflow, or remove the block"
    named = candidates[2] if layouts[1][1] != name else candidates[0]
    raise UserError(named, f"no such file, but a page shows {name}", remedy)


def find_figure(results: Path, name: str) -> Path:
    """The SVG behind an image, for PROFILE_NAME of another profile; it may not exist: not every image is a figure."""
    candidates = [layout.figure(own, "svg") for layout, own in _list_layouts(results, name)]
    return next((path for path in candidates if path.exists()), candidates[0])


def take_record(results: Path, pages: Sequence[Path], folder: Path, images: Path) -> None:
    """Copy what `pages` show of `results` into the record `folder` and the images into `images`."""
    blocks, shown = find_shown(pages)
    layout = ResultsLayout(results)
    tables = {name: find_table(results, name) for name in blocks if name != _COST}

    # A page also shows images that are no figures of the run.
    found = {name: find_figure(results, name) for name in shown}
    figures = {name: path for name, path in found.items() if path.exists()}
    total = sum_costs(read_costs_of_jobs(layout.find_job_folders()))
    record = ShownResults(
        captions={name: read_table_caption(path) for name, path in tables.items()},
        figures={name: sha256(path) for name, path in figures.items()},
        jobs=total.jobs,
        cpu_seconds=round(total.cpu, 1),
        hardware=describe_hardware(),
    )

    for name, path in tables.items():
        write_bytes(folder / f"{name}.csv", path.read_bytes())
    for name, path in figures.items():
        write_bytes(images / f"{name}.svg", path.read_bytes())

    # What no page shows any more goes.
    for path in folder.glob("*.csv"):
        if path.stem not in tables:
            path.unlink()
    write_json(folder / _RECORD, asdict(record))


def read_table_caption(path: Path) -> str:
    """The first paragraph of the Markdown file beside a table's CSV; empty where there is none."""
    markdown = path.with_suffix(".md")
    text = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
    first = text.split("\n\n")[0].strip()
    return "" if first.startswith("|") else first


def render_block(name: str, record: ShownResults, folder: Path) -> str:
    """The Markdown of a block: a table under its caption, or for ``run`` a sentence on cost."""
    if name == _COST:
        machine = ", ".join(
            f"{key} {record.hardware[key]}" for key in sorted({"cores", "processor"} & record.hardware.keys())
        )
        time = format_time(record.cpu_seconds)
        return f"The run behind these values: {record.jobs} jobs, {time} of CPU time ({machine})."

    path = folder / f"{name}.csv"
    if not path.exists() or name not in record.captions:
        raise UserError(path, "the record has no such table", _RENEW)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return f"{record.captions[name]}\n\n{table.to_markdown(index=False, disable_numparse=True)}".strip()


def render_page(page: Path, record: ShownResults, folder: Path) -> str:
    """The text that `page` should have: every block rendered from the record, the rest as it is."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n{render_block(name, record, folder)}\n<!-- end {name} -->"

    text = page.read_text(encoding="utf-8")
    begun, ended = (set(re.findall(rf"<!-- {word} (\w+) -->", text)) for word in ("begin", "end"))
    if begun != ended:
        problem = f"the block {min(begun ^ ended)} has only one of its two marks"
        raise UserError(page, problem, "write <!-- begin X --> and <!-- end X -->")

    return _BLOCK.sub(replace, text)


def update_pages(pages: Sequence[Path], folder: Path) -> None:
    """Render all pages from the record; a page that is right already is not touched."""
    record = ShownResults.read(folder)
    for page in pages:
        text = render_page(page, record, folder)
        if text != page.read_text(encoding="utf-8"):
            write_text(page, text)


def find_drift(pages: Sequence[Path], folder: Path, images: Path, results: Path | None = None) -> list[str]:
    """What differs between pages, record, images and, where given, results; empty if nothing does."""
    record = ShownResults.read(folder)
    drift = [
        f"{page}: does not show what {folder} holds"
        for page in pages
        if render_page(page, record, folder) != page.read_text(encoding="utf-8")
    ]

    for name, digest in record.figures.items():
        path = images / f"{name}.svg"
        if not path.exists() or sha256(path) != digest:
            drift.append(f"{path}: is not the figure that {folder / _RECORD} names")

    missing = [name for name in find_shown(pages)[1] if not (images / f"{name}.svg").exists()]
    drift += [f"{images / name}.svg: a page shows it, but there is no such file" for name in missing]
    return drift + ([] if results is None else _compare(record, folder, results))


def _compare(record: ShownResults, folder: Path, results: Path) -> list[str]:
    """Where the record differs from results. Cost and hardware are not compared: they are of the recorded run."""
    drift = []
    for name, caption in record.captions.items():
        path = find_table(results, name)
        if path.read_bytes() != (folder / f"{name}.csv").read_bytes() or read_table_caption(path) != caption:
            drift.append(f"{folder / name}.csv: differs from {path}")
    for name, digest in record.figures.items():
        path = find_figure(results, name)
        if not path.exists() or sha256(path) != digest:
            drift.append(f"{name}.svg: differs from {path}")
    return drift


def main() -> None:
    """Renew the record from results and the pages from the record, or compare all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="result folder, such as results/mini; without: only the record")
    parser.add_argument("--pages", type=Path, nargs="+", default=PAGES, help="pages with blocks (README and findings)")
    parser.add_argument("--record", type=Path, default=Path("docs/results"), help="what the pages show")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="their images")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where anything has drifted")
    args = parser.parse_args()

    missing = [page for page in args.pages if not page.exists()]
    if missing:
        raise UserError(missing[0], "no such page", "run this in the repository, or name pages with --pages")

    if args.check:
        _require_no_drift(find_drift(args.pages, args.record, args.images, args.results))
        return
    if args.results:
        take_record(args.results, args.pages, args.record, args.images)
    update_pages(args.pages, args.record)


def _require_no_drift(drift: Sequence[str]) -> None:
    if drift:
        more = f" (and {len(drift) - 1} more)" if len(drift) > 1 else ""
        where, _, problem = drift[0].partition(": ")
        raise UserError(where, f"{problem}{more}", _RENEW)


if __name__ == "__main__":
    call(main)
