"""``make-metrics``: mIoU in the forms that ``dvc metrics diff`` and ``dvc plots diff`` compare."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_results

HELP = "mIoU of every model as metrics.json and as the rows of a plot, for DVC"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_results(parser)
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json")
    parser.add_argument("--plot", type=Path, required=True, help="miou.csv")


def run(args: argparse.Namespace) -> None:
    """Read, average over seeds, write."""
    from opentrans.reporting.metrics import PLOT_FIELDS, list_plot_rows, nest_metrics
    from opentrans.reporting.results import read_results
    from opentrans.system.files import write_csv, write_json

    results = read_results(args.results)
    write_json(args.metrics, nest_metrics(results))
    write_csv(args.plot, PLOT_FIELDS, list_plot_rows(results))
