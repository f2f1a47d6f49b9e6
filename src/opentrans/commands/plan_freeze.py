"""Decide by the fits of a backbone's layers which of them stay frozen; light, since every recipe runs it."""

import argparse
from pathlib import Path

HELP = "choose by alpha which backbone layers stay frozen and write the freeze plan"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--recipe", required=True, help="name under `freezing` in the configuration")
    parser.add_argument("--seed", type=int, required=True, help="draws the layers of a random plan")
    parser.add_argument("--alphas", type=Path, required=True, help="fits of the backbone's layers (CSV, fit-alphas)")
    parser.add_argument("--output", type=Path, required=True, help="the freeze plan (CSV)")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from opentrans.freezing.fits import read_fits
    from opentrans.freezing.plan import make_plan
    from opentrans.runs.table import get_named

    recipe = get_named(args.config.freezing, args.recipe, "--recipe")
    make_plan(recipe, read_fits(args.alphas), args.seed).write(args.output)
