"""``make-report``: one HTML page with everything that a run came to."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_files, add_output, add_results

HELP = "make one self-contained HTML page: tables, figures, claims, cost, configuration, versions"
GROUP = "workflow"
OWN_RULE = "make_report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_results(parser)
    add_files(parser, "--tables", "tables (HTML, make-tables)")
    add_files(parser, "--figures", "figures (SVG or PNG)")
    parser.add_argument("--claims", type=Path, help="claims (HTML, judge-claims)")
    add_files(parser, "--captions", "captions: NAME.rst for figure NAME")
    parser.add_argument("--jobs", type=Path, nargs="+", required=True, help="folders of Snakemake's benchmark files")
    add_output(parser, "the page (HTML)")


def run(args: argparse.Namespace) -> None:
    """Read, render, write."""
    from opentrans.reporting import page
    from opentrans.reporting.jobs import read_costs_of_jobs
    from opentrans.reporting.results import read_results
    from opentrans.reporting.tables import read_captions
    from opentrans.system.files import write_text

    captions = read_captions(args.captions)
    text = page.render_report(
        config=args.config,
        results=read_results(args.results),
        tables=[page.read_section(path) for path in page.sort_by_number(args.tables)],
        figures=[page.read_figure(path, captions) for path in page.sort_by_number(args.figures)],
        claims=page.read_section(args.claims) if args.claims else None,
        costs=read_costs_of_jobs(args.jobs, without=[OWN_RULE]),
    )
    write_text(args.output, text)
