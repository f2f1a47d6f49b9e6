"""``collect-results``: all evaluations as one tidy table."""

import argparse
from pathlib import Path

HELP = "collect evaluations into one tidy results.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--evaluations", type=Path, nargs="+", required=True, help="evaluation JSON files")
    parser.add_argument("--output", type=Path, required=True, help="results.csv")


def run(args: argparse.Namespace) -> None:
    """Read, sort, write."""
    from opentrans.reporting.results import collect_results, write_results

    write_results(args.output, collect_results(args.evaluations))
