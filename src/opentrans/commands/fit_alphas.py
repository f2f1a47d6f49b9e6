"""Fit alpha to every layer of a backbone, once for all freeze plans that are made from it."""

import argparse
from pathlib import Path

HELP = "fit a power law to every backbone layer's spectrum: what plan-freeze chooses by"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--weights", type=Path, required=True, help="checkpoint or subnetwork (safetensors)")
    parser.add_argument("--prefix", default="weight.", help="what precedes the backbone's names (default: %(default)s)")
    parser.add_argument(
        "--before-mask", type=Path, help="subnetwork whose removed weights are put back before the fit (paper, Fig. 6)"
    )
    parser.add_argument(
        "--estimator", choices=("weightwatcher", "released"), default="weightwatcher", help="default: %(default)s"
    )
    parser.add_argument("--output", type=Path, required=True, help="the fits (CSV)")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import torch

    from opentrans.freezing.fits import write_fits
    from opentrans.freezing.select import restore_removed, select_convolutions
    from opentrans.freezing.spectra import estimate_alphas
    from opentrans.pruning.subnetwork import Subnetwork
    from opentrans.system.tensors import load_tensors

    torch.set_num_threads(args.config.threads.run)
    tensors, _ = load_tensors(args.weights, "train or find it again")
    weights = select_convolutions(tensors, args.prefix, args.weights)
    if args.before_mask:
        weights = restore_removed(weights, Subnetwork.load(args.before_mask), args.before_mask)
    write_fits(args.output, estimate_alphas(weights, args.estimator))
