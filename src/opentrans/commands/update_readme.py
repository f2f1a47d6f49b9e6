"""``update-readme``: tables and figures of the README, taken from results so that nobody types a number."""

import argparse
from pathlib import Path

from opentrans.errors import UserError

HELP = "put the tables and figures of a run into README and docs, or check that they are still there"
GROUP = "maintenance"
HAS_PROVENANCE = False  # its output is no result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--results", type=Path, help="result folder, such as results/mini; without: only the record")
    parser.add_argument(
        "--pages", type=Path, nargs="+", help="pages with blocks (default: README.md, docs/findings.md)"
    )
    parser.add_argument("--record", type=Path, default=Path("docs/results"), help="what the pages show (%(default)s)")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="their images (%(default)s)")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where anything has drifted")


def run(args: argparse.Namespace) -> None:
    """Renew the record from results and the pages from the record, or compare all of them."""
    from opentrans.reporting.readme import RENEW, find_drift, get_pages, take_record, update_pages

    pages = args.pages or get_pages(Path())
    missing = [page for page in pages if not page.exists()]
    if missing or not pages:
        raise UserError(
            (missing or ["README.md"])[0], "no such page", "run this in the repository, or name pages with --pages"
        )
    if args.check:
        drift = find_drift(pages, args.record, args.images, args.results)
        if drift:
            more = f" (and {len(drift) - 1} more)" if len(drift) > 1 else ""
            where, _, problem = drift[0].partition(": ")
            raise UserError(where, f"{problem}{more}", RENEW)
        return
    if args.results:
        take_record(args.results, pages, args.record, args.images)
    update_pages(pages, args.record)
