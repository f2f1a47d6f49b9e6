"""Decide by the spectra of a backbone's weights which of its layers stay frozen."""

import argparse
from pathlib import Path

HELP = "fit alpha to every backbone layer and write the freeze plan"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--recipe", required=True, help="name under `freezing` in the configuration")
    parser.add_argument("--seed", type=int, required=True, help="draws the layers of a random plan")
    parser.add_argument("--weights", type=Path, required=True, help="checkpoint or subnetwork (safetensors)")
    parser.add_argument("--prefix", default="weight.", help="what precedes the backbone's names (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="the freeze plan (CSV)")


def run(args: argparse.Namespace) -> None:
    """Run the verb."""
    import torch

    from opentrans.errors import UserError
    from opentrans.freezing.plan import make_plan, select_convolutions
    from opentrans.spectra import estimate_alphas
    from opentrans.tensors import load_tensors

    config = args.config
    if args.recipe not in config.freezing:
        known = ", ".join(config.freezing)
        raise UserError(f"--recipe {args.recipe}", "no such freeze recipe", f"take one of {known}")
    recipe = config.freezing[args.recipe]
    torch.set_num_threads(config.threads.run)
    tensors, _ = load_tensors(args.weights, "train or find it again")
    weights = select_convolutions(tensors, args.prefix, args.weights)
    make_plan(recipe, estimate_alphas(weights, recipe.estimator), args.seed).write(args.output)
