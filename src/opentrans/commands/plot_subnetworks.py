"""``plot-subnetworks``: what the searches kept, and their course."""

import argparse
from pathlib import Path

HELP = "plot each layer's density of subnetworks and the course of their search"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    where = "in folders {subnetwork}/seed{n}/"
    parser.add_argument(
        "--layers", type=Path, nargs="+", required=True, help=f"layers.csv files (find-subnetwork) {where}"
    )
    parser.add_argument("--rounds", type=Path, nargs="+", required=True, help=f"rounds.csv files {where}")
    parser.add_argument(
        "--output-dir", type=Path, required=True, help="receives density_{layers,rounds} as SVG and PNG"
    )


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
