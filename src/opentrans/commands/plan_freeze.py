"""Decide by the fits of a backbone's layers which of them stay frozen; light, since every recipe runs it."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_output, add_recipe

HELP = "choose by alpha which backbone layers stay frozen and write the freeze plan"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_recipe(parser, "freezing")
    parser.add_argument("--seed", type=int, required=True, help="draws the layers of a random plan")
    parser.add_argument("--alphas", type=Path, required=True, help="fits of the backbone's layers (CSV, fit-alphas)")
    add_output(parser, "the freeze plan (CSV)")


def run(args: argparse.Namespace) -> None:
    """Read the fits, choose, write."""
    from opentrans.freezing.fits import read_fits
    from opentrans.freezing.plan import make_plan
    from opentrans.runs.table import get_named

    recipe = get_named(args.config.freezing, args.recipe, "--recipe")
    make_plan(recipe, read_fits(args.alphas), args.seed).write(args.output)
