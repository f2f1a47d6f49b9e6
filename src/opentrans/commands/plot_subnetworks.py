"""``plot-subnetworks``: what the searches kept, and their course."""

import argparse

from opentrans.commands._arguments import add_files, add_output_dir

HELP = "plot each layer's density of subnetworks and the course of their search"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    where = "in folders {subnetwork}/seed{n}/"
    add_files(parser, "--layers", f"layers.csv files (find-subnetwork) {where}", required=True)
    add_files(parser, "--rounds", f"rounds.csv files {where}", required=True)
    add_output_dir(parser, "density_{layers,rounds} as SVG and PNG")


def run(args: argparse.Namespace) -> None:
    """Plot and write ``density_layers`` and ``density_rounds``."""
    from opentrans.reporting.figures.density import plot_layers, plot_rounds
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.tidy import read_layers, read_rounds

    figures = {
        "density_layers": plot_layers(read_layers(args.layers)),
        "density_rounds": plot_rounds(read_rounds(args.rounds)),
    }
    write_figures(args.output_dir, figures)
