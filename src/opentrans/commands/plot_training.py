"""``plot-training``: training curves of training runs."""

import argparse

from opentrans.commands._arguments import add_files, add_output_dir

HELP = "plot the loss curves of training runs"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    where = "in folders {target}/{subnetwork}/{freeze}/seed{n}/"
    add_files(parser, "--logs", f"log.csv files (train) {where}", required=True)
    add_output_dir(parser, "training_* as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """Plot and write ``training_subnetworks`` and ``training_freezing``."""
    from opentrans.reporting.figures.training import plot_freezing, plot_subnetworks
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.tidy import read_logs

    logs = read_logs(args.logs)
    figures = {"training_subnetworks": plot_subnetworks(logs), "training_freezing": plot_freezing(logs)}
    write_figures(args.output_dir, figures)
