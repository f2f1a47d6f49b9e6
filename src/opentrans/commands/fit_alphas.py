"""Fit alpha to every layer of a backbone, once for all freeze plans that are made from it."""

import argparse
from pathlib import Path

from opentrans.commands._arguments import add_fit, add_output

HELP = "fit a power law to every backbone layer's spectrum: what plan-freeze chooses by"
GROUP = "workflow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--weights", type=Path, required=True, help="checkpoint or subnetwork (safetensors)")
    parser.add_argument("--prefix", default="weight.", help="what precedes the backbone's names (default: %(default)s)")
    add_fit(parser)
    add_output(parser, "the fits (CSV)")


def run(args: argparse.Namespace) -> None:
    """Read the weights, fit, write."""
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
