"""``collect-results``: all evaluations as one tidy table."""

import argparse

from opentrans.commands._arguments import add_files, add_output

HELP = "collect evaluations into one tidy results.csv"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_files(parser, "--evaluations", "metrics JSON files (evaluate)", required=True)
    add_output(parser, "results.csv")


def run(args: argparse.Namespace) -> None:
    """Read, sort, write."""
    from opentrans.reporting.results import collect_results, write_results

    write_results(args.output, collect_results(args.evaluations))
