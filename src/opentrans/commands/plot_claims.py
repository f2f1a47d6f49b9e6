"""``plot-claims``: a forest plot of all claims."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_output_dir

HELP = "plot every claim's effect with its interval, the paper's effect and the verdict"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--claims", type=Path, required=True, help="judged claims (CSV, judge-claims)")
    add_output_dir(parser, "forest.svg, forest.png")


def run(args: argparse.Namespace) -> None:
    """Plot and write ``forest``."""
    from opentrans.reporting.figures.forest import FOREST_FIELDS, plot_forest
    from opentrans.reporting.figures.write import write_figures
    from opentrans.reporting.tidy import read_frame

    claims = read_frame(args.claims, FOREST_FIELDS, "judge the claims again")
    claims = claims.assign(family=claims["family"].fillna(""))
    write_figures(args.output_dir, {"forest": plot_forest(claims)})
