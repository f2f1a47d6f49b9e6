"""``plot-alphas``: Figures 6, 7 and 9."""

import argparse

from opentrans.commands._arguments import add_files, add_output_dir

HELP = "plot alpha of the backbone's layers before (Figure 6), during (7) and after fine-tuning (9)"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    where = "in folders {target}/{subnetwork}/{freeze}/seed{n}/"
    add_files(parser, "--alphas", f"traces of alpha (CSV) {where}")
    add_output_dir(parser, "figure{6,7,9} as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """Plot and write ``figure6``, ``figure7`` and ``figure9``."""
    from opentrans.reporting.figures.alphas import plot_before, plot_changes, plot_medians
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.tidy import read_alpha_traces

    alphas = read_alpha_traces(args.alphas)
    figures = {"figure6": plot_before(alphas), "figure7": plot_medians(alphas), "figure9": plot_changes(alphas)}
    write_figures(args.output_dir, figures)
