"""``make-figures``: bar charts of Table 1."""

import argparse
from pathlib import Path

HELP = "plot the mIoU of Table 1's runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line of the verb."""
    parser.add_argument("--results", type=Path, required=True, help="results.csv (collect-results)")
    parser.add_argument("--output-dir", type=Path, required=True, help="receives table1_{mean,benchmarks}.{svg,png}")


def run(args: argparse.Namespace) -> None:
    """Plot and write."""
    from opentrans.reporting.figures import make_figures
    from opentrans.reporting.results import read_results

    make_figures(read_results(args.results), args.output_dir)
